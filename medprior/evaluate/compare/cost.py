"""What a stage of a run cost: seconds and peak memory, in the run's `cost.json`."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from medprior.provenance import write_json
from medprior.settings import read_mapping

COST_FILE = "cost.json"
PROC_STATUS, PROC_CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@contextmanager
def measure_cost(run: Path, stage: str) -> Iterator[None]:
    """Write what the block cost into `cost.json` once it has ended well.

    Memory is the peak of the whole process while the block ran, libraries and data among it, in
    MiB; on a GPU what tensors held there at most is beside it. Where the kernel cannot forget
    an earlier peak, it is that of the process so far, and `since` says so.
    """
    resumed = (run / stage / "checkpoints").is_dir()
    cuda, fresh = torch.cuda.is_available(), reset_peak_memory()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.monotonic()
    yield
    found: dict[str, Any] = {
        "seconds": round(time.monotonic() - start, 2),
        "peak_memory_mib": round(read_peak_memory_mib(fresh), 1),
        "since": "stage" if fresh else "process",
        "resumed": resumed,
        "threads": torch.get_num_threads(),
    }
    if cuda:
        found["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    write_json(run / COST_FILE, read_costs(run) | {stage: found})


def read_costs(run: Path) -> dict[str, dict[str, Any]]:
    """Stage -> what it cost; empty where nothing was measured."""
    path = run / COST_FILE
    known = read_mapping(path) if path.is_file() else {}
    return {stage: value for stage, value in known.items() if isinstance(value, dict)}


def reset_peak_memory() -> bool:
    """Let the kernel start a new peak of this process (Linux: `clear_refs`, 5); False without."""
    try:
        PROC_CLEAR_REFS.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def read_peak_memory_mib(fresh: bool) -> float:
    """Largest resident memory of this process in MiB: since `peak_forgotten`, or ever."""
    if fresh:
        for line in PROC_STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 1024)


def summarise_costs(run: Path) -> dict[str, float]:
    """`cost.*` of one run over its stages; seconds only where none was stopped and went on."""
    stages = read_costs(run).values()
    if not stages:
        return {}
    found = {"cost.peak_memory_mib": max(stage["peak_memory_mib"] for stage in stages)}
    if not any(stage["resumed"] for stage in stages):
        found["cost.train_seconds"] = sum(stage["seconds"] for stage in stages)
    gpu = [stage["peak_gpu_memory_mib"] for stage in stages if "peak_gpu_memory_mib" in stage]
    return found | ({"cost.peak_gpu_memory_mib": max(gpu)} if gpu else {})
