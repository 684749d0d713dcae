"""Attention of a backbone over a cohort's images, on their unit squares."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.geometry import Views, create_whole_image_views
from medprior.networks.attention import compute_attention_maps
from medprior.networks.encoder import Encoder
from medprior.networks.views import crop_views, resample_maps_to_source


def iterate_whole_views(
    cohort: Cohort, size: int, patch: int, batch: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, Views]]:
    """Every image as one whole view at its true aspect: tensors [b, 1, size, size] and their geometry.

    The squares are read at 1.5 times the view's side, so that the view itself does not blur them.
    """
    squares, aspect = cohort.open_squares(size * 3 // 2), cohort.aspect
    grid = (size // patch, size // patch)
    for start in range(0, len(cohort), batch):
        part = slice(start, start + batch)
        views = create_whole_image_views(aspect[part], grid)
        source = torch.from_numpy(np.array(squares[part]))[:, None].to(device)
        yield crop_views(source, views, size, torch.arange(len(views), device=device)), views


def compute_cohort_attention(
    network: Encoder, cohort: Cohort, view: int, size: int, batch: int, device: torch.device
) -> Iterator[NDArray[np.float32]]:
    """Attention per head, float32 [b, H, size, size] >= 0, bilinear on unit squares.

    Args:
        network: on `device`, in evaluation mode.
        cohort: its images, in order.
        view: side of the view the network sees, pixels.
        size: side of the maps.
        batch: images at once.
        device: where to compute.
    """
    for images, views in iterate_whole_views(cohort, view, network.settings.patch, batch, device):
        maps = resample_maps_to_source(compute_attention_maps(network, images), views, size)
        yield maps.cpu().numpy().astype(np.float32, copy=False)
