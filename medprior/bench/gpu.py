"""One GPU in a few minutes: `python -m medprior.bench.gpu`; ceilings, parity with the CPU, throughput, faults.

Needs of the package's dependencies no tracker, no reader of images and no network. What fails is recorded, and the next
part runs.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from medprior.bench.gpu_suite.checks import compare_recipes_with_cpu, measure_out_of_memory, measure_resume
from medprior.bench.gpu_suite.speed import compare_with_dino, measure_trainer
from medprior.bench.gpu_suite.trainers import Bench
from medprior.networks.device import select_device
from medprior.provenance import write_json

MINUTES = 8.0
LEAST_SECONDS = 15.0
"""No part starts with less time left than this."""

Report = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the JSON; 1 where a part failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m medprior.bench.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, to try the measurements themselves")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"time for all parts (default {MINUTES:g})")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="default: gpu.json")
    args = parser.parse_args(argv)
    report = measure_parts(Bench(select_device(args.device), args.tiny), 60 * args.minutes, args.out)
    print(f"numbers: {args.out}")
    return int(any("failed" in part for part in report.values()))


def measure_parts(bench: Bench, seconds: float, out: Path) -> Report:
    """Run every part in turn; `out` is rewritten after each, so that nothing is lost where one hangs."""
    started = time.monotonic()
    report: Report = {"machine": measure_machine(bench)}
    print_rows("machine", report["machine"])
    peaks = report["machine"]
    parts: dict[str, Callable[[], Report]] = {
        "same numbers as the CPU": lambda: compare_recipes_with_cpu(bench),
        "SPAN beside DINO": lambda: compare_with_dino(bench, peaks, compiled=False),
        "SPAN beside DINO, compiled": lambda: compare_with_dino(bench, peaks, compiled=True),
        "trainer with its loader": lambda: measure_trainer(bench),
        "resume": lambda: measure_resume(bench),
        "out of memory": lambda: measure_out_of_memory(bench),
    }
    for name, measure in parts.items():
        left = seconds - (time.monotonic() - started)
        report[name] = {"skipped": "no time left"} if left < LEAST_SECONDS else record_part(measure)
        report["machine"]["seconds"] = round(time.monotonic() - started, 1)
        print_rows(name, report[name])
        write_json(out, report)
    return report


def record_part(measure: Callable[[], Report]) -> Report:
    """What a part found and its seconds, or why it failed."""
    started = time.monotonic()
    try:
        results = measure()
    except Exception as error:
        results = {"failed": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()[-2000:]}
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return results | {"seconds": round(time.monotonic() - started, 1)}


def print_rows(part: str, results: Report) -> None:
    """Print one line per measured thing."""
    for name, value in results.items():
        values = value if isinstance(value, dict) else {"": value}
        text = ", ".join(
            f"{key} {shown:.4g}" if isinstance(shown, float) else f"{key} {shown}" for key, shown in values.items()
        )
        print(f"{part} | {name} | {text.strip()}", flush=True)


def measure_machine(bench: Bench) -> Report:
    """Versions, and the ceilings: products and copies of large arrays, copies from the host."""
    results: Report = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device": torch.cuda.get_device_name(bench.device) if bench.is_cuda else platform.processor() or "cpu",
        "host cores": os.cpu_count(),
        "TF32 in float32 products": torch.backends.cuda.matmul.allow_tf32,
        "bf16 product, TFLOP/s": measure_product(bench, torch.bfloat16),
        "float32 product, TFLOP/s": measure_product(bench, torch.float32),
        "copy, TB/s": measure_copy(bench),
    }
    if bench.is_cuda:
        results["memory, GiB"] = torch.cuda.get_device_properties(bench.device).total_memory / 2**30
        results |= {
            f"from the host, {kind}, GB/s": measure_upload(bench, kind == "pinned") for kind in ("pinned", "pageable")
        }
    return results


def time_call(bench: Bench, call: Callable[[], object], repeats: int) -> float:
    """Seconds of a call, the mean of `repeats` after one."""
    call()
    bench.synchronise()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    bench.synchronise()
    return (time.perf_counter() - started) / repeats


def measure_product(bench: Bench, dtype: torch.dtype) -> float:
    """TFLOP/s of a product of square matrices."""
    side = 256 if bench.tiny else 8192
    left, right = (torch.randn(side, side, device=bench.device).to(dtype) for _ in range(2))
    return 2 * side**3 / time_call(bench, lambda: left @ right, 2 if bench.tiny else 20) / 1e12


def measure_copy(bench: Bench) -> float:
    """TB/s read and written by a copy on the device."""
    source = torch.zeros(2**16 if bench.tiny else 2**30, device=bench.device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / time_call(bench, lambda: target.copy_(source), 5) / 1e12


def measure_upload(bench: Bench, pinned: bool) -> float:
    """GB/s of a copy from the host to the device."""
    source = torch.zeros(2**20 if bench.tiny else 2**26, pin_memory=pinned)
    target = torch.empty(source.shape, device=bench.device)
    return source.nbytes / time_call(bench, lambda: target.copy_(source, non_blocking=pinned), 5) / 1e9


if __name__ == "__main__":
    raise SystemExit(main())
