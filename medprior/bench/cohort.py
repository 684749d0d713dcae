"""`medprior bench cohort`: read rate and size of the pixel store against other storage formats.

Pictures are phantoms of 512 x 512 from `medprior phantom` and `medprior ingest`, or those of the
cohort that `MEDPRIOR_BENCH_COHORT` names. In every round each format is read in the same random
order, one format after the other. Cold: the kernel drops the files from its page cache
(`posix_fadvise`, DONTNEED); the cache of the disk itself stays.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
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
from medprior.bench.ingest import format_median_range
from medprior.cohort.cohort import Cohort
from medprior.cohort.store import encode_stored_pixels

PICTURE_COUNT, PICTURE_SIDE_PX, READ_COUNT, REMOTE_READ_COUNT, ROUNDS = 256, 512, 512, 48, 3
UNMEASURED_STORES = {"litdata": "LitData", "streaming": "MosaicML streaming"}


@dataclass
class FormatTiming:
    """One row of the table: bytes per picture, and images/s of every round."""

    size: float
    rates: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, rate: float) -> None:
        """Add a measurement."""
        self.rates.setdefault(name, []).append(rate)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="medprior-bench-") as scratch:
        pictures = load_bench_pictures(Path(scratch), PICTURE_COUNT, PICTURE_SIDE_PX)
        order = np.random.default_rng(0).integers(0, len(pictures), READ_COUNT).tolist()
        roots, rows = {storage: Path(scratch, storage.name.replace(" ", "_")) for storage in list_formats()}, {}
        for storage, root in roots.items():
            root.mkdir()
            storage.write(root, pictures)
            rows[storage.name] = FormatTiming(count_disk_bytes(root) / len(pictures))
        for _ in range(ROUNDS):
            for storage, root in roots.items():
                measure_local_round(storage, root, order, rows[storage.name])
        with run_object_store(Path(scratch)) as (fs, bucket):
            for storage, root in roots.items() if fs is not None else ():
                read = storage.open_remote(fs, f"{bucket}/{root.name}")
                rows[storage.name].add("s3", measure_read_rate(read, order[:REMOTE_READ_COUNT]))
        print_format_table(rows, len(pictures))


def load_bench_pictures(scratch: Path, count: int, side: int) -> Picture:
    """uint16 [count, side, side] of phantoms, or of the cohort in `MEDPRIOR_BENCH_COHORT`."""
    path = os.environ.get("MEDPRIOR_BENCH_COHORT")
    cohort = Path(path) if path else scratch / "cohort"
    if not path:
        phantom_options = ("--patients", str(count), "--size", str(side), "--set", "max_images=1")
        folder = str(scratch / "phantoms")
        run_medprior("phantom", folder, *phantom_options, "--workers", "2", "--no-tracking")
        ingest_options = ("--dataset", "phantom", "--workers", "2", "--store-size", str(side))
        run_medprior("ingest", folder, str(cohort), *ingest_options, "--no-tracking")
    opened = Cohort.open(cohort)
    ids = opened.take(count).image_ids
    return np.stack([encode_stored_pixels(opened.pixels(name), (side, side)) for name in ids])


def run_medprior(*arguments: str) -> None:
    """Run a medprior command."""
    command = [sys.executable, "-m", "medprior", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def count_disk_bytes(root: Path) -> int:
    """Bytes of the files on disk, in blocks of the file system."""
    return sum(path.stat().st_blocks * 512 for path in root.rglob("*") if path.is_file())


def drop_page_cache(root: Path) -> None:
    """Drop the files from the page cache of the kernel."""
    for path in root.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def measure_read_rate(read: ReadPicture, order: list[int], cpu: bool = False) -> float:
    """Images/s in this order, by elapsed time, or with `cpu` by processor time of all threads."""
    clock = time.process_time if cpu else time.perf_counter
    total, start = 0, clock()
    for index in order:
        total += int(read(index)[-1, -1])
    return len(order) / (clock() - start)


def measure_local_round(storage: StorageFormat, root: Path, order: list[int], row: FormatTiming) -> None:
    """Measure cold, warm, and warm through fsspec. No memory map is open while the cache is dropped."""
    fsspec: Any = importlib.import_module("fsspec")
    drop_page_cache(root)
    row.add("cold", measure_read_rate(storage.open_local(root), list(dict.fromkeys(order))))
    read = storage.open_local(root)
    measure_read_rate(read, order)
    row.add("warm", measure_read_rate(read, order, cpu=True))
    remote = storage.open_remote(fsspec.filesystem("file"), str(root))
    row.add("file", measure_read_rate(remote, order[:REMOTE_READ_COUNT], cpu=True))


@contextmanager
def run_object_store(folder: Path) -> Iterator[tuple[Any, str]]:
    """A local S3 server that holds the folder; None where moto or s3fs is not installed."""
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
    """Print a row per format: median [min, max]."""
    print(f"{count} pictures of {PICTURE_SIDE_PX} x {PICTURE_SIDE_PX}, 16 bit; random reads; {ROUNDS} rounds")
    print("images/s: warm and file:// of processor time, cold and s3:// elapsed, one thread")
    heads = ("warm", "cold", "file", "s3")
    print(f"{'':34}{'kB/image':>9}" + "".join(f"{name:>22}" for name in heads))
    for name, row in rows.items():
        cells = [format_rate_range(row.rates.get(head, [])) for head in heads]
        print(f"{name:34}{row.size / 1000:>9.0f}" + "".join(f"{cell:>22}" for cell in cells))
    for module, title in UNMEASURED_STORES.items():
        installed = importlib.util.find_spec(module) is not None
        reason = "installed, but this bench has no code for it" if installed else "not installed"
        print(f"{title}: not measured here ({reason})")


def format_rate_range(values: list[float]) -> str:
    """Median, and the smallest and largest where there are several."""
    if not values:
        return "not measured"
    return f"{values[0]:.0f}" if len(values) == 1 else format_median_range(values, ".0f")


if __name__ == "__main__":
    main()
