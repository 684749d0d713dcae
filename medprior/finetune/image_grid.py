"""Resamples maps of a whole view to the radiograph's pixel grid, and removes stray mask components."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medprior.geometry import Views, find_mask_box

MAX_COMPONENTS = {"left_lung": 1, "right_lung": 1, "heart": 1, "lungs": 2}
MIN_COMPONENT_SHARE = 0.005


def resample_to_image(maps: Tensor, views: Views, rows: int, cols: int) -> Tensor:
    """Sample the part of each view that shows its image.

    Args:
        maps: [V, C, h, w] of the views.
        views: the views.
        rows: rows of the image's grid.
        cols: columns of it.

    Returns:
        [V, C, rows, cols], bilinear; beyond the outermost centres of a map its border goes on.
    """
    affine = views.inverse_affine()
    return torch.stack(
        [
            interpolate_axis(interpolate_axis(one, 2, cols, *theta[0, [0, 2]]), 1, rows, *theta[1, [1, 2]])
            for one, theta in zip(maps.float(), affine, strict=True)
        ]
    )


def interpolate_axis(maps: Tensor, axis: int, size: int, scale: float, offset: float) -> Tensor:
    """Interpolate one axis linearly: for maps that are much enlarged far faster than `grid_sample`.

    Args:
        maps: float32, of any shape.
        axis: the axis.
        size: its number of samples afterwards.
        scale: of the map from the new axis to the old one, both in [-1, 1] from edge to edge.
        offset: of that map.
    """
    side = maps.shape[axis]
    place = scale * ((2 * np.arange(size) + 1) / size - 1) + offset
    place = np.clip(((place + 1) * side - 1) / 2, 0, side - 1)
    low = place.astype(np.int64)
    index = torch.from_numpy(np.stack([low, np.minimum(low + 1, side - 1)])).to(maps.device)
    weight = torch.from_numpy((place - low).astype(np.float32)).to(maps.device)
    weight = weight.view(-1, *[1] * (maps.ndim - 1 - axis))
    return torch.lerp(maps.index_select(axis, index[0]), maps.index_select(axis, index[1]), weight)


def keep_largest_components(mask: NDArray[np.bool_], structure: str) -> NDArray[np.bool_]:
    """Keep a mask's largest connected component, two for `lungs` (our choice).

    Masks of other structures are returned unchanged. A component under 0.5 % of the image is dropped.

    Args:
        mask: bool [rows, cols].
        structure: its name.
    """
    max_components = MAX_COMPONENTS.get(structure)
    if max_components is None or not mask.any():
        return mask
    box = find_mask_box(mask)
    labels, count = ndimage.label(mask[box])
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    largest = np.argsort(sizes)[::-1][:max_components]
    is_kept = np.zeros(count + 1, dtype=bool)
    is_kept[[number + 1 for number in largest if sizes[number] >= MIN_COMPONENT_SHARE * mask.size]] = True
    kept = np.zeros_like(mask)
    kept[box] = is_kept[labels]
    return kept
