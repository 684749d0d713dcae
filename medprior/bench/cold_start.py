"""Times `medprior predict` from the start of its process to its files, and the imports it makes."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLD_REPEATS = 5
MAX_COLD_SECONDS = 3.0


def measure_cold_start(file: Path, model: Path, repeats: int = COLD_REPEATS) -> dict[str, float]:
    """Median elapsed and processor seconds of `medprior predict` in new processes, after one to fill the disk cache.

    Processor time is that of the command and the decoding processes it waited for.

    Raises:
        RuntimeError: the command failed.
    """
    elapsed, processor = [], []
    for _ in range(repeats + 1):
        with tempfile.TemporaryDirectory(prefix="medprior-") as folder:
            command = [
                sys.executable,
                "-m",
                "medprior",
                "predict",
                str(file),
                "-o",
                f"{folder}/out",
                "--model",
                str(model),
            ]
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            completed = subprocess.run(command, capture_output=True, text=True)
            elapsed.append(time.perf_counter() - start)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if completed.returncode:
            raise RuntimeError(completed.stderr)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"elapsed": statistics.median(elapsed[1:]), "processor": statistics.median(processor[1:])}


def print_cold_start(file: Path, model: Path) -> None:
    """Print `measure_cold_start` of one file."""
    times = measure_cold_start(file, model)
    elapsed, processor = times["elapsed"], times["processor"]
    print(f"`medprior predict` of {file.name}, from the start of the process, median of {COLD_REPEATS}:")
    print(f"  {elapsed:.2f} s (processor {processor:.2f} s), target {MAX_COLD_SECONDS:.0f} s on two cores")
