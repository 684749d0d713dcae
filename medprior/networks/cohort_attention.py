"""Attention of a backbone over a cohort's images, on their unit squares."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.geometry import PLAIN_VIEW, AttentionViews, Views, create_whole_image_views
from medprior.networks.attention import compute_augmented_attention
from medprior.networks.encoder import Encoder
from medprior.networks.views import crop_views, resample_maps_to_source


def iterate_whole_views(
    cohort: Cohort, size: int, patch: int, batch: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, Views]]:
    """Every image as one whole view at its true aspect: tensors [b, 1, size, size] and their geometry."""
    grid = (size // patch, size // patch)
    for source, aspect in iterate_sources(cohort, size, batch, device):
        views = create_whole_image_views(aspect, grid)
        yield crop_views(source, views, size, torch.arange(len(views), device=device)), views


def iterate_sources(
    cohort: Cohort, size: int, batch: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, NDArray[np.float64]]]:
    """Unit squares of images, tensors [b, 1, S, S], and their aspects [b], for views of `size` pixels.

    The squares are read at 1.5 times the view's side, so that the view itself does not blur them.
    """
    squares, aspect = cohort.open_squares(size * 3 // 2), cohort.aspect
    for start in range(0, len(cohort), batch):
        part = slice(start, start + batch)
        yield torch.from_numpy(np.array(squares[part]))[:, None].to(device), aspect[part]


def compute_cohort_attention(
    network: Encoder,
    cohort: Cohort,
    view: int,
    size: int,
    batch: int,
    device: torch.device,
    plan: AttentionViews = PLAIN_VIEW,
) -> Iterator[NDArray[np.float32]]:
    """Attention per head, float32 [b, H, size, size] >= 0, bilinear on unit squares.

    Args:
        network: on `device`, in evaluation mode.
        cohort: its images, in order.
        view: side of the view the network sees, pixels.
        size: side of the maps.
        batch: most views at once.
        device: where to compute.
        plan: views of an image over which attention is averaged.
    """
    largest = round(view * max(plan.sizes))
    for source, aspect in iterate_sources(cohort, largest, max(1, batch // len(plan.shifts)), device):
        maps = compute_augmented_attention(
            network, source, aspect, view, plan,
            lambda part, views: resample_maps_to_source(part, views, size, extend_border=True),
        )  # fmt: skip
        yield maps.cpu().numpy().astype(np.float32, copy=False)
