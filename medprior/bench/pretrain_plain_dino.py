"""DINO as it is usually written down, to time ours against: for `medprior bench pretrain` alone.

One image at a time is augmented on the CPU with torchvision, each view has a forward pass of its
own, attention forms the whole matrix, the teacher follows parameter by parameter. Sizes, views,
heads and losses are those of our step.
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
    """Attention with its matrix, in the place of the fused one."""

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
    """Backbone and head, one stack of views at a time."""

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
    rounds = [(crops.global_size, crops.globals_scale)] * 2
    rounds += [(crops.local_size, crops.locals_scale)] * crops.locals
    found: list[Callable[[Tensor], Tensor]] = []
    for size, scale in rounds:
        steps = [
            names.RandomResizedCrop(size, scale=scale, antialias=True),
            names.RandomApply([names.ColorJitter(0.4, 0.4)], p=0.8),
            names.RandomApply([names.GaussianBlur(5, sigma=(0.1, 2.0))], p=0.3),
        ]
        found.append(names.Compose(steps))
    return found


def build_plain_step(batch: int) -> Callable[[], None]:
    """One training step of the plain version: views, losses, backward, update, teacher."""
    settings = PretrainSettings.checked({"recipe": "nokoleo", "batch": batch, "steps": 1})
    settings = settings.resolve(batch)
    torch.manual_seed(0)
    student = PlainNet(settings)
    teacher = copy.deepcopy(student).requires_grad_(False)
    views = build_augmentations(settings)
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-3, foreach=False)
    images = torch.rand(batch, 1, 144, 144)
    centre = torch.zeros(settings.dino.prototypes or 1)

    def call() -> None:
        """One timed call."""
        cut = [torch.stack([view(image) for image in images]) for view in views]
        scores = [student(pixels) for pixels in cut]
        with torch.no_grad():
            taught = [teacher(pixels) for pixels in cut[:2]]
        losses = []
        for g, target in enumerate(taught):
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
        centre.copy_(CENTRE_MOMENTUM * centre + (1 - CENTRE_MOMENTUM) * torch.cat(taught).mean(0))

    return call
