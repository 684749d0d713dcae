"""Cost of the stages of a run: seconds and peak memory, in the run's `cost.json`."""

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
def measure_cost(run: Path, stage: str, device: torch.device | None = None) -> Iterator[None]:
    """Write the cost of the block to `cost.json` unless it raises.

    Memory is the peak of the whole process during the block in MiB, libraries and data included; where `device`, which
    the stage runs on, is a GPU, also the peak of its allocated tensors. None is the CPU. Where the kernel cannot reset
    the peak, it is that of the process so far, and `since` is "process".
    """
    resumed = (run / stage / "checkpoints").is_dir()
    device = device or torch.device("cpu")
    cuda, is_reset = device.type == "cuda", reset_peak_memory()
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    start = time.monotonic()
    yield
    if cuda:
        torch.cuda.synchronize(device)  # what is queued counts too
    cost: dict[str, Any] = {
        "seconds": round(time.monotonic() - start, 2),
        "peak_memory_mib": round(read_peak_memory_mib(is_reset), 1),
        "since": "stage" if is_reset else "process",
        "resumed": resumed,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if cuda else device.type,
    }
    if cuda:
        cost["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    write_json(run / COST_FILE, read_costs(run) | {stage: cost})


def read_costs(run: Path) -> dict[str, dict[str, Any]]:
    """Stage -> its cost; empty if nothing is measured."""
    path = run / COST_FILE
    costs = read_mapping(path) if path.is_file() else {}
    return {stage: value for stage, value in costs.items() if isinstance(value, dict)}


def reset_peak_memory() -> bool:
    """Reset the peak memory of this process (Linux: 5 to `clear_refs`); False if impossible."""
    try:
        PROC_CLEAR_REFS.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def read_peak_memory_mib(is_reset: bool) -> float:
    """Largest resident memory of this process in MiB: since the reset, or since its start."""
    if is_reset:
        for line in PROC_STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def summarise_costs(run: Path) -> dict[str, float]:
    """`cost.*` of one run over its stages; seconds only if no stage was resumed."""
    stages = read_costs(run).values()
    if not stages:
        return {}
    costs = {"cost.peak_memory_mib": max(stage["peak_memory_mib"] for stage in stages)}
    if not any(stage["resumed"] for stage in stages):
        costs["cost.train_seconds"] = sum(stage["seconds"] for stage in stages)
    gpu_peaks = [stage["peak_gpu_memory_mib"] for stage in stages if "peak_gpu_memory_mib" in stage]
    return costs | ({"cost.peak_gpu_memory_mib": max(gpu_peaks)} if gpu_peaks else {})
