"""`medprior bench sandbox`: what the confinement of decoding processes costs.

Every round reads the same files in this process, in a separate process without confinement and in a confined
one, one after the other, so that other load on the machine affects all of them. Then the files are ingested with
and without confinement; which comes first changes from round to round. Only this bench leaves the confinement out.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def time_reading(paths: list[Path]) -> dict[str, tuple[float, float]]:
    """Way of `WAYS` -> ms until the process has read its first file, and ms a file of all others."""
    times = {"in this process": time_files(read_image, paths)}
    for way, kind in WAYS.items():
        if kind:
            with leave_out_confinement(kind == "unconfined"), BoundedReader() as reader:
                times[way] = time_files(reader.read, paths)
    return times


def time_files(read: Callable[[Path], object], paths: list[Path]) -> tuple[float, float]:
    """Milliseconds of the first file, and of one of the others."""
    start = time.perf_counter()
    read(paths[0])
    first = time.perf_counter()
    for path in paths[1:]:
        read(path)
    return 1000 * (first - start), 1000 * (time.perf_counter() - first) / (len(paths) - 1)


def time_ingest(pictures: Path, scratch: Path, number: int) -> dict[str, float]:
    """`confined` and `unconfined` -> seconds of the program that ingests all pictures."""
    kinds = ["confined", "unconfined"][:: 1 if number % 2 else -1]
    key = str(scratch / "key")
    return {
        kind: measure_program_seconds(__name__, kind, str(pictures), str(scratch / f"{kind}{number}"), key)[0]
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
    sandbox.confine_process = limit_resources
    return bounded_reader.build_reader_message_handler(policy)


def build_unconfined_decoder(policy: Policy, store_size: int) -> MessageHandler:
    """Create, in the process, the handler of ingest, and leave the process unconfined."""
    sandbox.confine_process = limit_resources
    return pool.build_decoder_message_handler(policy, store_size)


def print_sandbox_report(
    reading: list[dict[str, tuple[float, float]]], ingest: list[dict[str, float]], files: int
) -> None:
    """Print each quantity as the median of the rounds and its range; differences are taken within a round."""
    print(f"{files} phantoms of {IMAGE_SIDE_PX} rows, five syntaxes; {len(reading)} rounds; median [min, max]")
    print(f"{'':34}{'first file, ms':>24}{'ms a file':>24}")
    for way in WAYS:
        firsts, others = ([times[way][index] for times in reading] for index in (0, 1))
        print(f"{way:34}{format_median_range(firsts, '.0f'):>24}{format_median_range(others, '.2f'):>24}")
    alone, apart, confined = WAYS
    for title, before, after in (("separate process", alone, apart), ("confinement", apart, confined)):
        costs = [times[after][1] - times[before][1] for times in reading]
        print(f"cost of the {title:22}{'':24}{format_median_range(costs, '+.2f'):>24}")
    print(f"\ningest, {WORKERS} workers, all of it{'':6}{'images/s':>24}")
    for kind in ("unconfined", "confined"):
        print(f"{kind:34}{format_median_range([files / times[kind] for times in ingest], '.1f'):>24}")
    ratios = [times["unconfined"] / times["confined"] for times in ingest]
    print(f"{'confined / unconfined':34}{format_median_range(ratios, '.3f'):>24}")


def ingest_once(kind: str, pictures: str, cohort: str, key: str) -> Any:
    """Ingest a folder with or without confinement; the program that `time_ingest` times."""
    from medprior.ingest import IngestSettings, ingest_images

    with leave_out_confinement(kind == "unconfined"):
        return ingest_images(pictures, Path(cohort), None, IngestSettings(workers=WORKERS), Path(key))


if __name__ == "__main__":
    # Processes find the builders under the name of the module, not under that of the program.
    from medprior.bench import sandbox as bench

    bench.ingest_once(*sys.argv[1:])
