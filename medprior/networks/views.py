"""Crop views from source images, and resample their maps to the sources, from one geometry record."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medprior.geometry import Views
from medprior.networks.device import send_to_device

MAX_OVERSAMPLING = 4


def crop_views(
    sources: Tensor,
    views: Views,
    size: int,
    index: Tensor,
    *,
    oversampling: int | None = None,
    theta: Tensor | None = None,
    angles: Tensor | None = None,
) -> Tensor:
    """Sample views from their sources in one batched `grid_sample`.

    Each output pixel is the mean of a lattice of bilinear samples, so that shrinking does not alias and a map's mass is
    kept (area averaging).

    Args:
        sources: [n, C, S, S], images or maps on the unit square.
        views: V views.
        size: side of the square output, pixels.
        index: int64 [V], the source of each view.
        oversampling: lattice side per output pixel; by default what the strongest shrinking needs.
        theta: float32 [V, 2, 3], `views.affine()` where it is on the sources' device already.
        angles: [V], rotation of each view about its centre, radians; None for none. The content turns clockwise.

    Returns:
        [V, C, size, size]; 0 where a view reaches outside its source.
    """
    if oversampling is None:
        oversampling = choose_oversampling(views, sources.shape[-1], size)
    fine = size * oversampling
    if theta is None:
        theta = send_to_device(views.affine().astype(np.float32), sources.device)
    if angles is not None:
        theta = rotate_affine(theta, angles.to(theta))
    grid = F.affine_grid(theta, [len(views), 1, fine, fine], align_corners=False)
    images = sources[index].float()
    out = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    inside = (grid.abs() <= 1).all(dim=-1)
    out = out * inside[:, None]
    return F.avg_pool2d(out, oversampling) if oversampling > 1 else out


def rotate_affine(theta: Tensor, angles: Tensor) -> Tensor:
    """The maps [V, 2, 3] from view to source coordinates for views turned by `angles` [V], radians."""
    cosine, sine = angles.cos(), angles.sin()
    turn = torch.stack([torch.stack([cosine, sine], -1), torch.stack([-sine, cosine], -1)], -2)
    return torch.cat([theta[:, :, :2] @ turn, theta[:, :, 2:]], dim=-1)


def choose_oversampling(views: Views, source: int, size: int) -> int:
    """Samples along each side of an output pixel that the strongest shrinking of `views` needs.

    Views that are cut in parts, as by several processes, must share the side of the whole.
    """
    shrink = float(views.box[:, 2:].max()) * source / size
    return min(max(math.ceil(shrink), 1), MAX_OVERSAMPLING)


def compute_patch_coverage(maps: Tensor, views: Views, index: Tensor, theta: Tensor | None = None) -> Tensor:
    """Share of each patch that a map covers.

    Args:
        maps: [n, K, S, S] in [0, 1] on the unit square.
        views: V views.
        index: int64 [V], the source of each view.
        theta: as of `crop_views`.

    Returns:
        [V, K, rows * columns] in [0, 1]: mean over at least 8 x 8 samples a patch.
    """
    rows, columns = views.grid
    if rows != columns:
        raise ValueError("square grids only")
    return crop_views(maps, views, rows, index, oversampling=8, theta=theta).flatten(2)


def resample_maps_to_source(maps: Tensor, views: Views, size: int, extend_border: bool = False) -> Tensor:
    """Resample maps of views to the unit squares of their sources.

    Args:
        maps: [V, C, rows, columns].
        views: the views the maps were computed on.
        size: side of the output, pixels.
        extend_border: where the source lies outside the view, go on with the map's border.

    Returns:
        [V, C, size, size], bilinear; 0 where the source lies outside the view, unless the border is extended.
    """
    theta = send_to_device(views.inverse_affine().astype(np.float32), maps.device)
    grid = F.affine_grid(theta, [len(views), 1, size, size], align_corners=False)
    out = F.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)
    return out if extend_border else out * (grid.abs() <= 1).all(dim=-1)[:, None]
