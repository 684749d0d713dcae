"""Attention maps of the CLS token, one per head, of one view or averaged over several (test-time augmentation)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from medprior.geometry import Array, AttentionViews, Views, create_whole_image_views
from medprior.networks.encoder import Encoder, Tokens
from medprior.networks.views import crop_views


@torch.no_grad()
def compute_attention_maps(network: Encoder, images: Tensor) -> Tensor:
    """CLS attention of each head of the last block (Caron et al. 2021, sec. 4.2).

    Args:
        network: in evaluation mode.
        images: [B, 1, S, S] in [0, 1].

    Returns:
        float32 [B, H, rows, columns], summing to 1 over the patches; CLS and registers left out.
    """
    return arrange_attention_maps(network(images, capture=True))


def arrange_attention_maps(tokens: Tokens) -> Tensor:
    """The attention [B, H, rows, columns] of tokens that hold the CLS row."""
    assert tokens.cls_logits is not None
    maps: Tensor = rearrange(tokens.cls_logits.softmax(-1), "b h (y x) -> b h y x", y=tokens.grid[0])
    return maps


def create_shifted_views(aspect: Array, cells: int, shifts: tuple[tuple[float, float], ...]) -> Views:
    """Whole-image views of `cells` x `cells` patches: all images with the first shift, then with the next."""
    whole = create_whole_image_views(np.tile(aspect, len(shifts)), (cells, cells))
    return whole.zoom(1.0, np.repeat(np.array(shifts) / cells, len(aspect), axis=0))


def compute_augmented_attention(
    network: Encoder,
    sources: Tensor,
    aspect: Array,
    size: int,
    plan: AttentionViews,
    resample: Callable[[Tensor, Views], Tensor],
) -> Tensor:
    """Mean attention of each head over the views of `plan`.

    Args:
        network: in evaluation mode.
        sources: [n, 1, S, S] in [0, 1], images on unit squares.
        aspect: [n], width / height of the images.
        size: side of the view that the backbone learned from, pixels.
        plan: the views.
        resample: brings maps [V, H, cells, cells] of V views to the form of the result [V, ...].

    Returns:
        float32 [n, ...]; a map's mean over its patches is 1 / patches of a view of `size`, whatever the views.
    """
    patch = network.settings.patch
    own_cells = size // patch
    total: Tensor | None = None
    for share in plan.sizes:
        cells = max(1, round(size * share / patch))
        views = create_shifted_views(aspect, cells, plan.shifts)
        index = torch.arange(len(sources), device=sources.device).repeat(len(plan.shifts))
        maps = compute_attention_maps(network, crop_views(sources, views, cells * patch, index))
        part = resample(maps * (cells / own_cells) ** 2, views)
        part = part.reshape(len(plan.shifts), len(sources), *part.shape[1:]).sum(dim=0)
        total = part if total is None else total + part
    assert total is not None
    return total / plan.count
