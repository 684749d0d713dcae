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
ROUNDING = 1e-6  # by which interpolation may exceed its samples
BLOCK_ROWS = 32  # of a mask that is made at once: a few of them fit a processor's cache


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
    images = []
    for one, theta in zip(maps.float(), views.inverse_affine(), strict=True):
        stretched = interpolate_axis(one, 2, place_samples(cols, one.shape[2], theta[0, 0], theta[0, 2]))
        images.append(interpolate_axis(stretched, 1, place_samples(rows, one.shape[1], theta[1, 1], theta[1, 2])))
    return torch.stack(images)


def threshold_on_image(probability: Tensor, view: Views, rows: int, cols: int, threshold: float) -> NDArray[np.bool_]:
    """Where one map is at least a threshold, as `resample_to_image` samples it.

    Only where samples of the map reach the threshold, and by blocks of rows, which is faster.

    Args:
        probability: [h, w] of the view.
        view: one view.
        rows: rows of the image's grid.
        cols: columns of it.
        threshold: smallest value within the mask.

    Returns:
        bool [rows, cols].
    """
    theta = view.inverse_affine()[0]
    small = probability.float().cpu()
    stretched = interpolate_axis(small, 1, place_samples(cols, small.shape[1], theta[0, 0], theta[0, 2]))
    places = place_samples(rows, small.shape[0], theta[1, 1], theta[1, 2])
    mask = np.zeros((rows, cols), dtype=bool)
    reaching = (stretched >= threshold - ROUNDING).numpy()
    if not reaching.any():
        return mask
    near_rows, near_cols = find_mask_box(reaching)
    reached = np.flatnonzero((places > near_rows.start - 1) & (places < near_rows.stop))
    for start in range(0, len(reached), BLOCK_ROWS):
        part = reached[start : start + BLOCK_ROWS]
        mask[part, near_cols] = (interpolate_axis(stretched[:, near_cols], 0, places[part]) >= threshold).numpy()
    return mask


def place_samples(size: int, side: int, scale: float, offset: float) -> NDArray[np.float64]:
    """Where the samples of an axis lie on the axis of a map, in its samples from 0 to side - 1.

    Args:
        size: number of samples.
        side: samples of the map.
        scale: of the way from the axis to that of the map, both in [-1, 1] from edge to edge.
        offset: of that way.
    """
    place = scale * ((2 * np.arange(size) + 1) / size - 1) + offset
    return np.clip(((place + 1) * side - 1) / 2, 0, side - 1)


def interpolate_axis(maps: Tensor, axis: int, places: NDArray[np.float64]) -> Tensor:
    """Interpolate one axis linearly: for maps that are much enlarged faster than `grid_sample`.

    Args:
        maps: float32, of any shape.
        axis: the axis.
        places: of the new samples, between 0 and the number of the old ones - 1.
    """
    low = places.astype(np.int64)
    index = torch.from_numpy(np.stack([low, np.minimum(low + 1, maps.shape[axis] - 1)])).to(maps.device)
    weight = torch.from_numpy((places - low).astype(np.float32)).to(maps.device)
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
    if count <= max_components and sizes.min() >= MIN_COMPONENT_SHARE * mask.size:
        return mask
    largest = np.argsort(sizes)[::-1][:max_components]
    is_kept = np.zeros(count + 1, dtype=bool)
    is_kept[[number + 1 for number in largest if sizes[number] >= MIN_COMPONENT_SHARE * mask.size]] = True
    kept = np.zeros_like(mask)
    kept[box] = is_kept[labels]
    return kept
