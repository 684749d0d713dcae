"""A plain PyTorch DINO (arXiv 2104.14294) that `medprior bench pretrain` compares with.

torchvision augments one image at a time on the CPU, each view has its own forward pass, attention
computes the full matrix, and the teacher is updated parameter by parameter. Sizes, views, heads and
losses equal those of medprior's step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from medprior.networks.vit import Attention, VisionTransformer
from medprior.pretrain.objectives.projection_head import ProjectionHead
from medprior.pretrain.settings import PretrainSettings

CENTRE_MOMENTUM, TEACHER_MOMENTUM = 0.9, 0.996


class PlainAttention(nn.Module):
    """Attention with an explicit matrix, which replaces the fused one."""

    def __init__(self, fused: Attention) -> None:
        super().__init__()
        self.heads = fused.heads
        self.qkv, self.project = fused.qkv, fused.project

    def forward(self, x: Tensor, *_: object) -> tuple[Tensor, None]:
        """Attend over tokens [B, T, D]."""
        q, k, v = rearrange(self.qkv(x), "b t (n h d) -> n b h t d", n=3, h=self.heads)
        weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
        return self.project(rearrange(weights @ v, "b h t d -> b t (h d)")), None


class PlainNet(nn.Module):
    """Backbone and head for one stack of views."""

    def __init__(self, settings: PretrainSettings) -> None:
        super().__init__()
        dino = settings.dino
        assert dino.prototypes is not None
        self.backbone = VisionTransformer(settings.network)
        for block in self.backbone.blocks:
            block.attention = PlainAttention(block.attention)  # type: ignore[arg-type]
        self.head = ProjectionHead(
            settings.network.width, dino.hidden, dino.bottleneck, dino.prototypes,
            batch_norm=bool(dino.batch_norm),
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores [B, K] of views [B, 1, S, S]."""
        scores: Tensor = self.head(self.backbone(pixels).cls)
        return scores


def build_augmentations(settings: PretrainSettings) -> list[Callable[[Tensor], Tensor]]:
    """One transform for each view of an image."""
    from torchvision import transforms

    names: Any = transforms  # torchvision is untyped
    crops = settings.crops
    sizes = [(crops.global_size, crops.globals_scale)] * 2
    sizes += [(crops.local_size, crops.locals_scale)] * crops.locals
    augmentations: list[Callable[[Tensor], Tensor]] = []
    for size, scale in sizes:
        steps = [
            names.RandomResizedCrop(size, scale=scale, antialias=True),
            names.RandomApply([names.ColorJitter(0.4, 0.4)], p=0.8),
            names.RandomApply([names.GaussianBlur(5, sigma=(0.1, 2.0))], p=0.3),
        ]
        augmentations.append(names.Compose(steps))
    return augmentations


def build_plain_step(batch: int) -> Callable[[], None]:
    """One training step of the plain version: views, losses, backward, update, teacher."""
    settings = PretrainSettings.from_values({"recipe": "nokoleo", "batch": batch, "steps": 1})
    settings = settings.resolve(batch)
    torch.manual_seed(0)
    student = PlainNet(settings)
    teacher = copy.deepcopy(student).requires_grad_(False)
    views = build_augmentations(settings)
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-3, foreach=False)
    images = torch.rand(batch, 1, 144, 144)
    centre = torch.zeros(settings.dino.prototypes or 1)

    def call() -> None:
        """Run one step."""
        stacks = [torch.stack([view(image) for image in images]) for view in views]
        scores = [student(pixels) for pixels in stacks]
        with torch.no_grad():
            teacher_scores = [teacher(pixels) for pixels in stacks[:2]]
        losses = []
        for g, target in enumerate(teacher_scores):
            p = ((target - centre) / 0.04).softmax(-1)
            for v, score in enumerate(scores):
                if v != g:
                    losses.append(-(p * (score / 0.1).log_softmax(-1)).sum(-1).mean())
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), 3.0)
        optimiser.step()
        with torch.no_grad():
            for mean, new in zip(teacher.parameters(), student.parameters(), strict=True):
                mean.mul_(TEACHER_MOMENTUM).add_((1 - TEACHER_MOMENTUM) * new)
        centre.copy_(CENTRE_MOMENTUM * centre + (1 - CENTRE_MOMENTUM) * torch.cat(teacher_scores).mean(0))

    return call
