"""`medprior bench sandbox`: what the confinement of decoding processes costs.

Every round reads the same files in this process, in a separate process without confinement and in a confined
one, one after the other, so that other load on the machine affects all of them. Then the files are ingested with
and without confinement; which comes first changes from round to round. Only this bench leaves the confinement out.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medprior.bench.ingest import WORKERS, create_phantoms, format_median_range, measure_program_seconds
from medprior.dicom import Policy, bounded_reader, read_image
from medprior.dicom.bounded_reader import BoundedReader
from medprior.ingest import pool
from medprior.workers import sandbox
from medprior.workers.confinement import limit_resources
from medprior.workers.sandbox import MessageHandler

FILE_COUNT, IMAGE_SIDE_PX, ROUNDS = 100, 1024, 5
WAYS = {
    "in this process": "",
    "in a process without confinement": "unconfined",
    "in a confined process": "confined",
}


@dataclass(frozen=True)
class ReadingTimes:
    """Milliseconds to read files in one way.

    Attributes:
        first: until the first file is read, the start of a process included.
        elapsed: for each of the others.
        processor: processor time of all processes for each of the others, which other load hardly changes.
    """

    first: float
    elapsed: float
    processor: float


def main() -> None:
    """Print ms a file of each way to read, ms to start a process, and images/s of ingest with and without."""
    with tempfile.TemporaryDirectory(prefix="medprior-bench-") as scratch:
        folder = Path(scratch, "phantoms")
        create_phantoms(folder, FILE_COUNT, IMAGE_SIDE_PX)
        pictures = folder / "dicom"
        paths = sorted(pictures.rglob("*.dcm"))
        reading = [time_reading(paths) for _ in range(ROUNDS)]
        ingest = [time_ingest(pictures, Path(scratch), number) for number in range(ROUNDS)]
        print_sandbox_report(reading, ingest, len(paths))


def time_reading(paths: list[Path]) -> dict[str, ReadingTimes]:
    """The times of each way of `WAYS` to read all files."""
    times = {"in this process": time_files(read_image, paths)}
    for way, kind in WAYS.items():
        if kind:
            with leave_out_confinement(kind == "unconfined"), BoundedReader() as reader:
                times[way] = time_files(reader.read, paths)
    return times


def time_files(read: Callable[[Path], object], paths: list[Path]) -> ReadingTimes:
    """Time the first file, which starts a process where one is needed, and the others."""
    start = time.perf_counter()
    read(paths[0])
    first, before = time.perf_counter(), measure_processor_seconds()
    for path in paths[1:]:
        read(path)
    count = len(paths) - 1
    processor = measure_processor_seconds() - before
    return ReadingTimes(1e3 * (first - start), 1e3 * (time.perf_counter() - first) / count, 1e3 * processor / count)


def measure_processor_seconds() -> float:
    """Processor seconds so far of this process and of all that run below it."""
    psutil: Any = importlib.import_module("psutil")
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return float(sum(item.user + item.system for item in times))


def time_ingest(pictures: Path, scratch: Path, number: int) -> dict[str, tuple[float, float]]:
    """`confined` and `unconfined` -> elapsed and processor seconds of the program that ingests all pictures."""
    kinds = ["confined", "unconfined"][:: 1 if number % 2 else -1]
    key = str(scratch / "key")
    return {
        kind: measure_program_seconds(__name__, kind, str(pictures), str(scratch / f"{kind}{number}"), key)
        for kind in kinds
    }


@contextmanager
def leave_out_confinement(enabled: bool = True) -> Iterator[None]:
    """Let processes that start in the block read files without Landlock and seccomp, if `enabled`."""
    read, decode = bounded_reader.build_reader_message_handler, pool.build_decoder_message_handler
    if enabled:
        bounded_reader.build_reader_message_handler = build_unconfined_reader
        pool.build_decoder_message_handler = build_unconfined_decoder
    try:
        yield
    finally:
        bounded_reader.build_reader_message_handler, pool.build_decoder_message_handler = read, decode


def build_unconfined_reader(policy: Policy) -> MessageHandler:
    """Create, in the process, the handler of `BoundedReader`, and leave the process unconfined."""
    vars(sandbox)["confine_process"] = limit_resources
    return bounded_reader.build_reader_message_handler(policy)


def build_unconfined_decoder(policy: Policy, store_size: int) -> MessageHandler:
    """Create, in the process, the handler of ingest, and leave the process unconfined."""
    vars(sandbox)["confine_process"] = limit_resources
    return pool.build_decoder_message_handler(policy, store_size)


def print_sandbox_report(
    reading: list[dict[str, ReadingTimes]], ingest: list[dict[str, tuple[float, float]]], files: int
) -> None:
    """Print each quantity as the median of the rounds and its range; costs are differences within a round."""
    print(f"{files} phantoms of {IMAGE_SIDE_PX} rows, five syntaxes; {len(reading)} rounds; median [min, max]")
    print(f"{'':34}{'first file, ms':>22}{'ms a file':>24}{'processor ms a file':>24}")
    for way in WAYS:
        rows = [times[way] for times in reading]
        cells = (
            format_median_range([row.first for row in rows], ".0f"),
            format_median_range([row.elapsed for row in rows], ".2f"),
            format_median_range([row.processor for row in rows], ".2f"),
        )
        print(f"{way:34}{cells[0]:>22}{cells[1]:>24}{cells[2]:>24}")
    alone, apart, confined = WAYS
    for title, before, after in (("separate process", alone, apart), ("confinement", apart, confined)):
        elapsed = [times[after].elapsed - times[before].elapsed for times in reading]
        processor = [times[after].processor - times[before].processor for times in reading]
        costs = f"{format_median_range(elapsed, '+.2f'):>24}{format_median_range(processor, '+.2f'):>24}"
        print(f"cost of the {title:22}{'':22}{costs}")
    print(f"\ningest, {WORKERS} workers, all of it{'':4}{'images/s':>24}{'processor ms an image':>24}")
    for kind in ("unconfined", "confined"):
        rates = [files / times[kind][0] for times in ingest]
        milliseconds = [1e3 * times[kind][1] / files for times in ingest]
        print(f"{kind:32}{format_median_range(rates, '.1f'):>24}{format_median_range(milliseconds, '.1f'):>24}")
    ratios = [times["unconfined"][0] / times["confined"][0] for times in ingest]
    print(f"{'confined / unconfined':32}{format_median_range(ratios, '.3f'):>24}")


def ingest_once(kind: str, pictures: str, cohort: str, key: str) -> Any:
    """Ingest a folder with or without confinement; the program that `time_ingest` times."""
    from medprior.ingest import IngestSettings, ingest_images

    with leave_out_confinement(kind == "unconfined"):
        return ingest_images(pictures, Path(cohort), None, IngestSettings(workers=WORKERS), Path(key))


if __name__ == "__main__":
    # Processes find the builders under the name of the module, not under that of the program.
    from medprior.bench import sandbox as bench

    bench.ingest_once(*sys.argv[1:])
