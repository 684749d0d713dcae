"""What must hold on a GPU: the CPU's numbers, a resumed run, and a step that memory does not hold at once."""

from __future__ import annotations

import copy
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medprior.bench.gpu_suite.trainers import (
    Bench,
    RandomSquares,
    build_device_batch,
    build_noise_trainer,
    build_seeded_learner,
    read_first_batch,
)
from medprior.networks.checkpoint import load_newest_checkpoint
from medprior.observer import NullObserver
from medprior.pretrain.handlers import CheckpointHandler, MetricsHandler
from medprior.pretrain.learner import Learner
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.pretrain_views import MultiCropBatchMaker
from medprior.pretrain.views.stored_batches import StoredBatches

PARITY_RECIPES = ("dino", "span", "sar", "loca", "ibot", "span+life", "all")
PARITY_BATCH = 16
MEMORY_SHARE = 0.5
"""Of the memory that a step takes, the part that is left to it: it must be worked through in parts."""


def compare_recipes_with_cpu(bench: Bench) -> dict[str, Any]:
    """Losses and gradient of every recipe on the device, in float32 and bfloat16, against the CPU's in float32.

    `loss` is the largest relative difference of an objective's loss, `cosine` that of the student's gradient.
    """
    small = Bench(bench.device, tiny=True)  # the numbers of a small network; its CPU side takes a second
    results: dict[str, Any] = {}
    for recipe in PARITY_RECIPES:
        settings = small.build_settings(recipe, 4 if bench.tiny else PARITY_BATCH, precision="fp32", compile="off")
        learner = build_seeded_learner(settings)
        expected = compute_gradient(settings, learner, torch.device("cpu"), half=False)
        for name, half in (("float32", False), ("bfloat16", True)):
            losses, gradient = compute_gradient(settings, learner, bench.device, half=half)
            worst = max(abs(losses[key] - value) / max(abs(value), 1e-3) for key, value in expected[0].items())
            cosine = torch.nn.functional.cosine_similarity(gradient, expected[1], dim=0)
            results[f"{recipe}, {name}"] = {"loss": worst, "cosine": float(cosine)}
    return results


def compute_gradient(
    settings: PretrainSettings, learner: Learner, device: torch.device, *, half: bool
) -> tuple[dict[str, float], Tensor]:
    """Losses of one batch, and the gradient of their sum on a copy of the student, float64 [n] on the CPU."""
    placed = copy.deepcopy(learner).to(device)
    size = settings.crops.global_size * 3 // 2
    batches = StoredBatches(RandomSquares(settings.batch, size, settings.needs_prior))
    batch = read_first_batch(batches, settings)
    (multi_crop,) = MultiCropBatchMaker(settings, batches, placed)(batch, 0, device)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        losses, _ = placed.compute_losses(placed.student, multi_crop)
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad.flatten().double().cpu() for p in placed.student.parameters() if p.grad is not None]
    return {name: float(value.detach()) for name, value in losses.items()}, torch.cat(gradients)


def measure_resume(bench: Bench) -> dict[str, Any]:
    """A run that is saved, and goes on in another trainer: the largest difference of a weight after one more step."""
    settings = bench.build_settings("all", 4 if bench.tiny else 32)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_noise_trainer(bench, settings)
        batch = build_device_batch(trainer)
        checkpoints = CheckpointHandler(Path(folder), MetricsHandler(Path(folder), NullObserver(), ()))
        for step in (1, 2, 3):
            trainer.state.iteration = step
            trainer.step(trainer, batch)
            if step == 2:
                checkpoints.save(trainer)
        state = load_newest_checkpoint(Path(folder))
        assert state is not None
    again = build_noise_trainer(bench, settings)
    again.learner.load_state_dict(state["learner"])
    again.load_optimiser_state(state["optimiser"])
    again.state.iteration = 3
    again.step(again, batch)
    pairs = zip(trainer.learner.state_dict().values(), again.learner.state_dict().values(), strict=True)
    difference = max(float((one.float() - two.float()).abs().max()) for one, two in pairs if one.numel())
    return {"largest difference": difference}


def measure_out_of_memory(bench: Bench) -> dict[str, Any]:
    """A step that is left half of the memory it takes: the parts it is worked through in, and that it is finite."""
    if not bench.is_cuda:
        return {"skipped": "only a GPU's memory can be limited"}
    device, settings = bench.device, bench.build_settings("span", 8 if bench.tiny else 128)
    torch.cuda.reset_peak_memory_stats(device)
    trainer = build_noise_trainer(bench, settings)
    batch = build_device_batch(trainer)
    trainer.state.iteration = 1
    trainer.step(trainer, batch)
    trainer.read_deferred_logs()
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.empty_cache()
    limit = MEMORY_SHARE * peak / torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(limit, device)
    try:
        trainer.state.iteration = 2
        logs = trainer.step(trainer, batch)
        return {"GiB": peak / 2**30, "parts": trainer.multi_crops.parts, "finite": math.isfinite(logs["loss"])}
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
