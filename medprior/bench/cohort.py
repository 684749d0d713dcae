"""`medprior bench cohort`: what the pixel store costs, against other ways to keep pictures.

Pictures are phantoms of 512 x 512 that `medprior phantom` and `medprior ingest` have made, or those
of the cohort that `MEDPRIOR_BENCH_COHORT` names. Every way is read in the same random order, one
way after the other in every round. Cold: the kernel is told to drop the files from its cache
(`posix_fadvise`, DONTNEED); what the disk itself keeps cannot be dropped from here.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medprior.bench.cohort_formats import Picture, ReadPicture, StorageFormat, list_formats
from medprior.cohort.cohort import Cohort
from medprior.cohort.store import encode_stored_pixels

PICTURE_COUNT, PICTURE_SIDE_PX, READ_COUNT, REMOTE_READ_COUNT, ROUNDS = 256, 512, 512, 48, 3
UNMEASURED_STORES = {"litdata": "LitData", "streaming": "MosaicML streaming"}


@dataclass
class FormatTiming:
    """One line of the table: bytes a picture, and images/s of every round."""

    size: float
    rates: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, rate: float) -> None:
        """One more measurement."""
        self.rates.setdefault(name, []).append(rate)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="medprior-bench-") as scratch:
        pictures = load_bench_pictures(Path(scratch), PICTURE_COUNT, PICTURE_SIDE_PX)
        order = np.random.default_rng(0).integers(0, len(pictures), READ_COUNT).tolist()
        ways, rows = list_formats(), {}
        for way in ways:
            root = Path(scratch, way.name.replace(" ", "_"))
            root.mkdir()
            way.write(root, pictures)
            rows[way.name] = FormatTiming(count_disk_bytes(root) / len(pictures))
        for _ in range(ROUNDS):
            for way in ways:
                measure_local_round(way, Path(scratch, way.name.replace(" ", "_")), order, rows[way.name])
        with run_object_store(Path(scratch)) as (fs, bucket):
            for way in ways if fs is not None else ():
                name = way.name.replace(" ", "_")
                rows[way.name].add(
                    "s3", measure_read_rate(way.through(fs, f"{bucket}/{name}"), order[:REMOTE_READ_COUNT])
                )
        print_format_table(rows, len(pictures))


def load_bench_pictures(scratch: Path, count: int, side: int) -> Picture:
    """uint16 [count, side, side] of phantoms, or of the cohort that is named."""
    named = os.environ.get("MEDPRIOR_BENCH_COHORT")
    cohort = Path(named) if named else scratch / "cohort"
    if not named:
        numbers = ("--patients", str(count), "--size", str(side), "--set", "max_images=1")
        folder = str(scratch / "phantoms")
        run_medprior("phantom", folder, *numbers, "--workers", "2", "--no-tracking")
        more = ("--dataset", "phantom", "--workers", "2", "--store-size", str(side))
        run_medprior("ingest", folder, str(cohort), *more, "--no-tracking")
    opened = Cohort.open(cohort)
    ids = opened.take(count).image_ids
    return np.stack([encode_stored_pixels(opened.pixels(name), (side, side)) for name in ids])


def run_medprior(*arguments: str) -> None:
    """Run a command of ours."""
    command = [sys.executable, "-m", "medprior", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def count_disk_bytes(root: Path) -> int:
    """What the files take on disk, in blocks as the file system counts them."""
    return sum(path.stat().st_blocks * 512 for path in root.rglob("*") if path.is_file())


def drop_page_cache(root: Path) -> None:
    """Have the kernel forget the files' pages."""
    for path in root.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def measure_read_rate(read: ReadPicture, order: list[int], cpu: bool = False) -> float:
    """Images/s in this order, by elapsed time, or by processor time of all threads."""
    clock = time.process_time if cpu else time.perf_counter
    total, start = 0, clock()
    for index in order:
        total += int(read(index)[-1, -1])
    return len(order) / (clock() - start)


def measure_local_round(way: StorageFormat, root: Path, order: list[int], row: FormatTiming) -> None:
    """Cold, warm, and warm through fsspec. No memory map lives when the cache is dropped."""
    fsspec: Any = importlib.import_module("fsspec")
    drop_page_cache(root)
    row.add("cold", measure_read_rate(way.local(root), list(dict.fromkeys(order))))
    read = way.local(root)
    measure_read_rate(read, order)
    row.add("warm", measure_read_rate(read, order, cpu=True))
    there = way.through(fsspec.filesystem("file"), str(root))
    row.add("file", measure_read_rate(there, order[:REMOTE_READ_COUNT], cpu=True))


@contextmanager
def run_object_store(folder: Path) -> Iterator[tuple[Any, str]]:
    """A real S3 server on this machine that holds the folder; None where there is none."""
    if any(importlib.util.find_spec(name) is None for name in ("moto", "s3fs")):
        yield None, ""
        return
    moto: Any = importlib.import_module("moto.server")
    fsspec: Any = importlib.import_module("fsspec")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        fs = fsspec.filesystem("s3", key="x", secret="x", client_kwargs={"endpoint_url": f"http://{host}:{port}"})
        fs.mkdir("bench")
        for path in folder.iterdir():
            if path.name not in {"phantoms", "cohort", "cohort.private"}:
                fs.put(str(path), f"bench/{path.name}", recursive=True)
        yield fs, "bench"
    finally:
        server.stop()


def print_format_table(rows: dict[str, FormatTiming], count: int) -> None:
    """Print a line for every way: median [min, max]."""
    print(f"{count} pictures of {PICTURE_SIDE_PX} x {PICTURE_SIDE_PX}, 16 bit; random reads; {ROUNDS} rounds")
    print("images/s: warm and file:// of processor time, cold and s3:// elapsed, one thread")
    heads = ("warm", "cold", "file", "s3")
    print(f"{'':34}{'kB/image':>9}" + "".join(f"{name:>22}" for name in heads))
    for name, row in rows.items():
        cells = [format_rate_range(row.rates.get(head, [])) for head in heads]
        print(f"{name:34}{row.size / 1000:>9.0f}" + "".join(f"{cell:>22}" for cell in cells))
    for module, title in UNMEASURED_STORES.items():
        there = importlib.util.find_spec(module) is not None
        said = "installed, but this bench has no code for it" if there else "not installed"
        print(f"{title}: not measured here ({said})")


def format_rate_range(values: list[float]) -> str:
    """Median, and the smallest and largest where there are several."""
    if not values:
        return "not measured"
    if len(values) == 1:
        return f"{values[0]:.0f}"
    return f"{statistics.median(values):.0f} [{min(values):.0f}, {max(values):.0f}]"


if __name__ == "__main__":
    main()
