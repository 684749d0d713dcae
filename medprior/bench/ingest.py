"""`medprior bench ingest`: the whole ingest against plain reading loops and bare decoding.

Phantoms of all vendors and syntaxes are made once; then, in every round, each contender reads them
all, one after the other, so that a busy machine is busy for all of them. medprior is timed from
the start of its command to the end; the others without their imports, which favours them.

Bare decoding bounds what any ingest can reach. It is given twice: as one process alone does it,
times the cores, and as so many processes at once do it as ingest has workers. The second is what
this machine can do: its cores may be threads of one.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
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
    """Seconds of one round: elapsed and processor time by contender.

    `together`: elapsed of bare decoding in `WORKERS` processes at once, each over all files.
    """

    elapsed: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    together: float = math.nan


def main() -> None:
    """Print images/s of all, shares of bare decoding, where time goes, and the skip rate."""
    kept = os.environ.get("MEDPRIOR_BENCH_FOLDER")
    with tempfile.TemporaryDirectory(prefix="medprior-bench-") as scratch:
        folder = Path(kept or scratch, f"phantoms-{IMAGE_SIDE_PX}")
        create_phantoms(folder, FILE_COUNT, IMAGE_SIDE_PX)
        rounds = [run_round(folder, Path(scratch), number) for number in range(ROUNDS)]
        print_ingest_report(rounds, FILE_COUNT)
        first, again = measure_skip_rate(Path(scratch), RERUN_FILES)
        print(f"\n{RERUN_FILES} PNG files of 64x64 pixels, store included: {first:.0f} files/s")
        print(f"the same again over finished work:            {again:.0f} files/s")


def create_phantoms(folder: Path, files: int, side: int) -> None:
    """Phantoms of all vendors; a folder that is there already is kept."""
    from medprior.phantom import PhantomSettings, generate_phantom_cohort

    generate_phantom_cohort(folder, files, 5, PhantomSettings(size=side, max_images=1), WORKERS)


def single_thread_env() -> dict[str, str]:
    """The environment with one thread for every library."""
    one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    return os.environ | one | {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}


def run_module(*arguments: str) -> str:
    """Standard output of a Python module run as a program."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, env=single_thread_env(), capture_output=True, text=True, check=True)
    return done.stdout


def measure_program_seconds(*arguments: str) -> tuple[float, float]:
    """Elapsed seconds of a program, and processor seconds of all its processes.

    Decoding processes are nobody's children to be waited for: they are looked at while they live.
    """
    psutil: Any = importlib.import_module("psutil")
    spent: dict[int, float] = {}
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], env=single_thread_env(), stderr=subprocess.DEVNULL
    ) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                for each in (root, *root.children(recursive=True)):
                    times = each.cpu_times()
                    spent[each.pid] = times.user + times.system
            time.sleep(0.05)
    elapsed = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments[:2])
    return elapsed, sum(spent.values())


def run_round(folder: Path, scratch: Path, number: int) -> RoundTimes:
    """Every contender once."""
    result = RoundTimes()
    cohort = scratch / f"cohort{number}"
    # The pictures alone: the others read no masks and no tables.
    pictures = str(folder / "dicom")
    options = ("--workers", str(WORKERS), "--no-tracking", "--key", str(scratch / "key"))
    said = measure_program_seconds("medprior", "ingest", pictures, str(cohort), *options)
    result.elapsed["medprior"], result.cpu["medprior"] = said
    for name in ("decode", "radiograph", *PEER_TITLES):
        said = json.loads(run_module("medprior.bench.ingest_peers", name, str(folder)).splitlines()[-1])
        result.elapsed[name], result.cpu[name] = said["elapsed"], said["cpu"]
        result.failed[name] = int(said["failed"])
    result.together = time_parallel_decode(folder, WORKERS)
    return result


def time_parallel_decode(folder: Path, count: int) -> float:
    """Seconds in which `count` processes at once each decode every file; imports not counted."""
    command = [sys.executable, "-m", "medprior.bench.ingest_peers", "decode", str(folder), "wait"]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(command, env=single_thread_env(), stdin=pipe, stdout=pipe, stderr=quiet, text=True)
            )
            for _ in range(count)
        ]
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        start = time.perf_counter()
        for number, process in enumerate(started):
            assert process.stdin is not None
            process.stdin.write(f"{number * FILE_COUNT // count}\n")
            process.stdin.flush()
        for process in started:
            process.wait()
        elapsed = time.perf_counter() - start
    if any(process.returncode for process in started):
        raise subprocess.CalledProcessError(1, command[:4])
    return elapsed


def format_median_range(values: list[float], form: str) -> str:
    """Median, and the smallest and largest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} [{low:{form}}, {high:{form}}]"


def print_ingest_report(rounds: list[RoundTimes], files: int) -> None:
    """Print what the rounds gave, each as median [min, max]."""
    print(f"{files} phantoms of {IMAGE_SIDE_PX} rows, five syntaxes; {len(rounds)} rounds; median [min, max]")
    print(f"{'':38}{'images/s':>22}{'medprior is faster by':>26}")
    ours = [files / r.elapsed["medprior"] for r in rounds]
    print(f"{f'medprior ingest, {WORKERS} workers, all of it':38}{format_median_range(ours, '.1f'):>22}")
    for name, title in PEER_TITLES.items():
        rates = [files / r.elapsed[name] for r in rounds]
        ratios = [r.elapsed[name] / r.elapsed["medprior"] for r in rounds]
        failed = rounds[0].failed[name]
        lost = f"  ({failed} files not read)" if failed else ""
        print(f"{title:38}{format_median_range(rates, '.1f'):>22}{format_median_range(ratios, '.2f'):>26}{lost}")
    print_upper_bounds(rounds, files)
    print("\nprocessor time for each image, which a busy machine does not change much, ms")
    for name, title in TIME_TITLES.items():
        spent = [1000 * r.cpu[name] / files for r in rounds]
        print(f"{title:38}{format_median_range(spent, '.1f'):>22}")


def print_upper_bounds(rounds: list[RoundTimes], files: int) -> None:
    """Print what bare decoding and plain reading could do, and how much of it ingest reaches."""
    cores = min(WORKERS, os.cpu_count() or 1)
    seconds = {
        f"{cores} cores x bare decode alone": [r.cpu["decode"] / cores for r in rounds],
        f"bare decode in {WORKERS} processes at once": [r.together / WORKERS for r in rounds],
        f"{cores} cores x display-ready alone": [r.cpu["radiograph"] / cores for r in rounds],
    }
    for title, spent in seconds.items():
        rates = [files / each for each in spent]
        pairs = zip(spent, rounds, strict=True)
        shares = [each / r.elapsed["medprior"] for each, r in pairs]
        print(
            f"{title:38}{format_median_range(rates, '.1f'):>22}   medprior reaches {format_median_range(shares, '.2f')}"
        )


def measure_skip_rate(scratch: Path, count: int) -> tuple[float, float]:
    """Files/s of a first run over small pictures, and of a second that finds all of them done."""
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
