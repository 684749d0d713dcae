"""`medprior bench ingest [--images N] [--rounds N]`: the whole ingest against plain reading loops and bare decoding.

Phantoms of all vendors and syntaxes are generated once, at most 300 of them; more files are copies with identifiers of
their own. In every round each reader reads them all,
one reader after the other, so that other load on the machine affects all of them. medprior is timed
from the start to the end of its command; the others without their imports, which favours them. A run over
one image says how much of that is start and end of the command, whatever the number of images.

Bare decoding is an upper bound of any ingest. It is measured twice: in one process, times the
cores, and in as many parallel processes as ingest has workers. The second is the bound of this
machine, whose cores may be threads of one core.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medprior.dicom.decoding.samples import create_sample_picture

FILE_COUNT, IMAGE_SIDE_PX, ROUNDS, WORKERS = 300, 1024, 3, 2
RERUN_FILES = 6000
PEER_TITLES = {
    "pydicom": "pydicom: pixel_array, modality, VOI",
    "monai": "MONAI LoadImage (PydicomReader)",
    "simpleitk": "SimpleITK ReadImage",
}
TIME_TITLES = {
    "decode": "codec, reading and parsing",
    "radiograph": "the same, display-ready",
    "medprior": "medprior ingest, all its processes",
    "pydicom": "pydicom loop",
    "monai": "MONAI loop",
    "simpleitk": "SimpleITK loop",
}


@dataclass
class RoundTimes:
    """Seconds of one round: elapsed and processor time by reader.

    `parallel_decode`: elapsed of bare decoding in `WORKERS` parallel processes, each of all files. `one_image`:
    processor time of an ingest of one image.
    """

    elapsed: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    parallel_decode: float = math.nan
    one_image: float = math.nan


def parse_ingest_options(options: list[str]) -> dict[str, Any]:
    """Arguments of `main` from the command line."""
    parser = argparse.ArgumentParser(prog="medprior bench ingest")
    parser.add_argument("--images", type=int, metavar="N", help=f"number of phantoms (default: {FILE_COUNT})")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how often each reader runs (default: {ROUNDS})")
    return vars(parser.parse_args(options))


def main(images: int | None = None, rounds: int | None = None) -> None:
    """Print images/s of all readers, shares of bare decoding, processor times, and the skip rate."""
    files = images or FILE_COUNT
    kept_folder = os.environ.get("MEDPRIOR_BENCH_FOLDER")
    with tempfile.TemporaryDirectory(prefix="medprior-bench-") as scratch:
        folder = Path(kept_folder or scratch, f"phantoms-{IMAGE_SIDE_PX}-{files}")
        create_phantoms(folder, files, IMAGE_SIDE_PX)
        results = [run_round(folder, Path(scratch), number) for number in range(rounds or ROUNDS)]
        print_ingest_report(results, files)
        first, again = measure_skip_rate(Path(scratch), RERUN_FILES)
        print(f"\n{RERUN_FILES} PNG files of 64x64 pixels, store included: {first:.0f} files/s")
        print(f"the same again over finished work:            {again:.0f} files/s")


def create_phantoms(folder: Path, files: int, side: int) -> None:
    """Generate phantoms of all vendors, copied beyond `FILE_COUNT`; an existing folder is kept."""
    from medprior.phantom import PhantomSettings, generate_phantom_cohort

    generate_phantom_cohort(folder, min(files, FILE_COUNT), 5, PhantomSettings(size=side, max_images=1), WORKERS)
    sources = sorted(path for path in (folder / "dicom").rglob("*") if path.is_file())
    for number in range(len(sources), files):
        copy_as_other_patient(sources[number % FILE_COUNT], folder / "dicom" / f"copy-{number:06d}.dcm")


def copy_as_other_patient(source: Path, target: Path) -> None:
    """Write a DICOM file once more, as another patient's; an existing target is kept."""
    import pydicom

    if target.exists():
        return
    dataset = pydicom.dcmread(source)
    dataset.PatientID = target.stem
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(
        entropy_srcs=[target.stem]
    )
    dataset.save_as(target)


def single_thread_env() -> dict[str, str]:
    """The environment with one thread for every library."""
    blas_threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    return os.environ | blas_threads | {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}


def run_module(*arguments: str) -> str:
    """Standard output of a Python module run as a program."""
    command = [sys.executable, "-m", *arguments]
    completed = subprocess.run(command, env=single_thread_env(), capture_output=True, text=True, check=True)
    return completed.stdout


def measure_program_seconds(*arguments: str) -> tuple[float, float]:
    """Elapsed seconds of a program, and processor seconds of all its processes.

    Decoding processes are not waited for by the program, so their times are polled while they run.
    """
    psutil: Any = importlib.import_module("psutil")
    processor: dict[int, float] = {}
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], env=single_thread_env(), stderr=subprocess.DEVNULL
    ) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                for member in (root, *root.children(recursive=True)):
                    times = member.cpu_times()
                    processor[member.pid] = times.user + times.system
            time.sleep(0.05)
    elapsed = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments[:2])
    return elapsed, sum(processor.values())


def run_round(folder: Path, scratch: Path, number: int) -> RoundTimes:
    """Run every reader once."""
    result = RoundTimes()
    # Pictures alone: the other readers read no masks and no tables.
    pictures, one = folder / "dicom", scratch / f"one{number}"
    one.mkdir()
    shutil.copy(next(path for path in sorted(pictures.rglob("*")) if path.is_file()), one)
    options = ("--workers", str(WORKERS), "--no-tracking", "--key", str(scratch / "key"))
    result.one_image = measure_program_seconds("medprior", "ingest", str(one), f"{one}-cohort", *options)[1]
    seconds = measure_program_seconds("medprior", "ingest", str(pictures), str(scratch / f"cohort{number}"), *options)
    result.elapsed["medprior"], result.cpu["medprior"] = seconds
    for name in ("decode", "radiograph", *PEER_TITLES):
        report = json.loads(run_module("medprior.bench.ingest_peers", name, str(folder)).splitlines()[-1])
        result.elapsed[name], result.cpu[name] = report["elapsed"], report["cpu"]
        result.failed[name] = int(report["failed"])
    files = sum(path.is_file() for path in pictures.rglob("*"))
    result.parallel_decode = time_parallel_decode(folder, WORKERS, files)
    return result


def time_parallel_decode(folder: Path, count: int, files: int) -> float:
    """Elapsed seconds of `count` parallel processes that each decode all `files`, without imports."""
    command = [sys.executable, "-m", "medprior.bench.ingest_peers", "decode", str(folder), "wait"]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, env=single_thread_env(), stdin=pipe, stdout=pipe, stderr=quiet, text=True)
            )
            for _ in range(count)
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        start = time.perf_counter()
        for number, process in enumerate(processes):
            assert process.stdin is not None
            process.stdin.write(f"{number * files // count}\n")
            process.stdin.flush()
        for process in processes:
            process.wait()
        elapsed = time.perf_counter() - start
    if any(process.returncode for process in processes):
        raise subprocess.CalledProcessError(1, command[:4])
    return elapsed


def format_median_range(values: list[float], form: str) -> str:
    """Median, and the smallest and largest."""
    low, median, high = min(values), statistics.median(values), max(values)
    return f"{median:{form}} [{low:{form}}, {high:{form}}]"


def print_ingest_report(rounds: list[RoundTimes], files: int) -> None:
    """Print the rounds, each quantity as median [min, max]."""
    print(f"{files} phantoms of {IMAGE_SIDE_PX} rows, five syntaxes; {len(rounds)} rounds; median [min, max]")
    print(f"{'':38}{'images/s':>22}{'medprior is faster by':>26}")
    ours = [files / r.elapsed["medprior"] for r in rounds]
    print(f"{f'medprior ingest, {WORKERS} workers, all of it':38}{format_median_range(ours, '.1f'):>22}")
    for name, title in PEER_TITLES.items():
        rates = [files / r.elapsed[name] for r in rounds]
        ratios = [r.elapsed[name] / r.elapsed["medprior"] for r in rounds]
        failed = rounds[0].failed[name]
        unread = f"  ({failed} files not read)" if failed else ""
        print(f"{title:38}{format_median_range(rates, '.1f'):>22}{format_median_range(ratios, '.2f'):>26}{unread}")
    print_upper_bounds(rounds, files)
    print("\nprocessor time per image, which other load hardly changes, ms")
    for name, title in TIME_TITLES.items():
        milliseconds = [1000 * r.cpu[name] / files for r in rounds]
        print(f"{title:38}{format_median_range(milliseconds, '.1f'):>22}")
    fixed = [r.one_image for r in rounds]
    rest = [1000 * ((r.cpu["medprior"] - r.one_image - r.cpu["radiograph"]) / files) for r in rounds]
    print(f"{'ingest beyond display-ready and start':38}{format_median_range(rest, '.1f'):>22}")
    print(f"{'start and end of a run, s':38}{format_median_range(fixed, '.2f'):>22}")


def print_upper_bounds(rounds: list[RoundTimes], files: int) -> None:
    """Print the bounds by bare decoding and plain reading, and the share that ingest reaches."""
    cores = min(WORKERS, os.cpu_count() or 1)
    seconds = {
        f"{cores} cores x bare decode alone": [r.cpu["decode"] / cores for r in rounds],
        f"bare decode in {WORKERS} processes at once": [r.parallel_decode / WORKERS for r in rounds],
        f"{cores} cores x display-ready alone": [r.cpu["radiograph"] / cores for r in rounds],
    }
    for title, bounds in seconds.items():
        rates = [files / bound for bound in bounds]
        shares = [bound / r.elapsed["medprior"] for bound, r in zip(bounds, rounds, strict=True)]
        print(
            f"{title:38}{format_median_range(rates, '.1f'):>22}   medprior reaches {format_median_range(shares, '.2f')}"
        )


def measure_skip_rate(scratch: Path, count: int) -> tuple[float, float]:
    """Files/s of a first run over small pictures, and of a second run that skips all of them."""
    from medprior.ingest import IngestSettings, ingest_images

    folder, picture = scratch / "pictures", create_sample_picture(64, 64, 8).astype(np.uint8)
    for number in range(count):
        path = folder / f"{number // 500:03d}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture[0, :2] = number % 256, number // 256
        Image.fromarray(picture).save(path)
    settings = IngestSettings(workers=WORKERS, store_size=64)
    rates = []
    for _ in range(2):
        start = time.perf_counter()
        ingest_images(folder, scratch / "again", None, settings, scratch / "key")
        rates.append(count / (time.perf_counter() - start))
    return rates[0], rates[1]


if __name__ == "__main__":
    main()
