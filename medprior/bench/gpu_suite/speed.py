"""Throughput on a GPU: SPAN beside DINO in turn, and the trainer with its loader."""

from __future__ import annotations

import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from medprior.bench.gpu_suite.trainers import Bench, TimedTrainer, build_noise_trainer
from medprior.bench.pretrain_gpu import PEAK_FLOPS, compute_step_flops
from medprior.pretrain.compilation import should_compile

BATCHES = (64, 128, 256)
PAIRS, STEPS, WARM_UP_STEPS = 5, 8, 4
TINY_BATCHES, TINY_PAIRS, TINY_STEPS = (4,), 2, 1


def compare_with_dino(bench: Bench, machine: dict[str, Any], *, compiled: bool) -> dict[str, Any]:
    """Images/s, MFU and memory of DINO and SPAN, timed in turn, A B A B, at every batch size.

    Args:
        bench: where.
        machine: of `measure_machine`, with the measured peak.
        compiled: whether blocks are compiled.
    """
    if compiled and not should_compile("auto", bench.device):
        return {"skipped": "blocks are compiled on CUDA with Triton alone"}
    results: dict[str, Any] = {}
    for batch in TINY_BATCHES if bench.tiny else BATCHES:
        results |= compare_at_batch(bench, machine, batch, compiled)
        if bench.is_cuda:
            torch.cuda.empty_cache()
    return results


def compare_at_batch(bench: Bench, machine: dict[str, Any], batch: int, compiled: bool) -> dict[str, Any]:
    """DINO and SPAN at one batch size; `SPAN / DINO` is the median ratio of the pairs, its least and its greatest."""
    precision, choice = "bf16" if bench.is_cuda else "fp32", "on" if compiled else "off"
    pairs, steps, warm_up = (TINY_PAIRS, TINY_STEPS, 1) if bench.tiny else (PAIRS, STEPS, WARM_UP_STEPS)
    if bench.is_cuda:
        torch.cuda.reset_peak_memory_stats(bench.device)
    settings = {
        recipe: bench.build_settings(recipe, batch, precision=precision, compile=choice) for recipe in ("dino", "span")
    }
    trainers = {recipe: TimedTrainer(bench, values) for recipe, values in settings.items()}
    for trainer in trainers.values():
        trainer.time_steps(warm_up)
    seconds = [{recipe: trainer.time_steps(steps) for recipe, trainer in trainers.items()} for _ in range(pairs)]
    results: dict[str, Any] = {}
    for recipe, values in settings.items():
        step = statistics.median(pair[recipe] for pair in seconds)
        flops = compute_step_flops(values, batch) / step
        row = {"images/s": batch / step, "ms": 1e3 * step}
        row["MFU of the measured peak"] = flops / (1e12 * machine["bf16 product, TFLOP/s"])
        limit = next((peak for name, peak in PEAK_FLOPS.items() if name in machine["device"]), None)
        results[f"{recipe}, batch {batch}"] = row | ({"MFU of the data sheet": flops / limit} if limit else {})
    ratios = [pair["span"] / pair["dino"] for pair in seconds]
    memory = {"GiB of both": torch.cuda.max_memory_allocated(bench.device) / 2**30} if bench.is_cuda else {}
    results[f"SPAN / DINO, batch {batch}"] = {
        "median": statistics.median(ratios), "least": min(ratios), "greatest": max(ratios),
    } | memory  # fmt: skip
    return results


def measure_trainer(bench: Bench) -> dict[str, Any]:
    """The trainer as `medprior pretrain` runs it: images/s, share of the time it waits for data, waits of the host."""
    batch, steps = (4, 3) if bench.tiny else (128, 40)
    results: dict[str, Any] = {}
    for recipe in ("dino", "span", "all"):
        trainer = build_noise_trainer(bench, bench.build_settings(recipe, batch), batches=4)
        batches, waited = iter(trainer.data_loader), 0.0
        started = time.perf_counter()
        for step in range(2 * steps):
            if step == steps:  # the first half warms up
                bench.synchronise()
                started, waited = time.perf_counter(), 0.0
            asked = time.perf_counter()
            data = next(batches)
            waited += time.perf_counter() - asked
            trainer.state.iteration = step + 1
            trainer.step(trainer, data)
        bench.synchronise()
        seconds = time.perf_counter() - started
        results[recipe] = {"images/s": batch * steps / seconds, "share of waiting for data": waited / seconds}
        if bench.is_cuda:
            trainer.state.iteration += 1
            results[recipe]["waits of the host in a step"] = list_waits(trainer, next(batches))
    return results


def list_waits(trainer: Any, data: Any) -> list[str]:
    """Lines of a step at which torch says that the host waited for the device."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            trainer.step(trainer, data)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return [f"{Path(entry.filename).name}:{entry.lineno}" for entry in seen if "synchroniz" in str(entry.message)]
