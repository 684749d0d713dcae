"""Throughput of pretraining on a CUDA device: ViT-S/16, 2 x 224 and 8 x 96 px, bf16."""

from __future__ import annotations

import time

import numpy as np
import torch

from medprior.networks.vit_settings import ViTSettings
from medprior.pretrain.learner import Learner
from medprior.pretrain.objectives.objective import MultiCropBatch, PriorMaps
from medprior.pretrain.optimiser import build_pretrain_optimiser
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewMaker

# Dense bf16 peak of the data sheets, without sparsity, FLOP/s.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
TIMED_STEPS, WARM_UP_STEPS = 20, 5


def vit_small_settings(recipe: str, batch: int) -> PretrainSettings:
    """ViT-S/16 with DINO's published views."""
    network = {"width": 384, "depth": 12, "heads": 6, "patch": 16, "image_size": 224}
    crops = {"global_size": 224, "local_size": 96, "locals": 8}
    values = {"recipe": recipe, "network": network, "crops": crops, "batch": batch, "steps": 1}
    return PretrainSettings.from_values(values).resolve(100_000)


def compute_forward_flops(net: ViTSettings, size: int) -> float:
    """FLOP of the backbone on one view of `size` pixels.

    12 D^2 + 2 T D multiply-adds per token and block, two FLOP each, and the embedding.
    """
    patches = (size // net.patch) ** 2
    tokens = patches + 1 + net.registers
    blocks = net.depth * tokens * (12 * net.width**2 + 2 * tokens * net.width)
    return 2.0 * (blocks + patches * net.width * net.patch**2)


def compute_step_flops(settings: PretrainSettings, batch: int) -> float:
    """FLOP of the backbones in one step: forward of both, backward of the student (twice it)."""
    net, crops = settings.network, settings.crops
    global_flops = 2 * compute_forward_flops(net, crops.global_size)
    local_flops = crops.locals * compute_forward_flops(net, crops.local_size)
    return batch * (3 * (global_flops + local_flops) + global_flops)


def print_throughput(batch: int = 128) -> None:
    """Print images/s, share of peak FLOP/s (MFU) and memory of the steps of three recipes."""
    device = torch.device("cuda")
    name = torch.cuda.get_device_name()
    limit = next((flops for key, flops in PEAK_FLOPS.items() if key in name), None)
    for recipe in ("dino", "span", "span+sar+loca"):
        settings = vit_small_settings(recipe, batch)
        learner = Learner(settings, range(3) if settings.needs_prior else ()).to(device)
        optimiser = build_pretrain_optimiser(learner.student, settings)
        images = torch.rand(batch, 1, 336, 336, device=device)
        maps = PriorMaps(torch.rand(batch, 3, 256, 256, device=device), torch.ones(batch, device=device))
        maker = ViewMaker(settings)
        torch.cuda.reset_peak_memory_stats()
        for step in range(WARM_UP_STEPS + TIMED_STEPS):
            if step == WARM_UP_STEPS:
                torch.cuda.synchronize()
                started = time.perf_counter()
            views = maker(images, np.ones(batch), step, slice(0, batch), batch)
            multi_crop = MultiCropBatch(*views, maps if settings.needs_prior else None, step=step, whole=batch)
            with torch.autocast("cuda", torch.bfloat16):
                losses, _ = learner.compute_losses(learner.student, multi_crop)
            optimiser.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            learner.commit_step()
            learner.update_teacher(0.996)
        torch.cuda.synchronize()
        seconds = (time.perf_counter() - started) / TIMED_STEPS
        utilisation = compute_step_flops(settings, batch) / seconds / limit if limit else float("nan")
        memory = torch.cuda.max_memory_allocated() / 2**30
        print(
            f"{name}, {recipe}, ViT-S/16 2x224 + 8x96 bf16, batch {batch}: "
            f"{batch / seconds:.0f} images/s, MFU {utilisation:.2f}, {memory:.1f} GiB", flush=True,
        )  # fmt: skip
