"""Overlap of a predicted mask with the true one: Dice, IoU, and HD95 of the contours."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.metrics.auc import Array, safe_divide

Masks = NDArray[np.bool_]
Counts = NDArray[np.integer[Any]] | int


def compute_dice_from_counts(both: Counts, predicted: Counts, truth: Counts) -> Array:
    """Dice of pixel counts (in both masks, in the predicted, in the true one); NaN of 0 / 0."""
    return safe_divide(2.0 * np.asarray(both), np.asarray(predicted + truth, np.float64))


def compute_dice(predicted: Masks, truth: Masks) -> Array:
    """Dice of each pair; NaN where the true mask is empty.

    Shape:
        bool [..., h, w] both; float64 [...] back, in [0, 1].
    """
    both, predicted_size, size = (np.count_nonzero(m, axis=(-2, -1)) for m in (predicted & truth, predicted, truth))
    return np.where(size > 0, compute_dice_from_counts(both, predicted_size, size), np.nan)


def convert_dice_to_iou(values: Array) -> Array:
    """IoU (Jaccard) from Dice: D / (2 - D)."""
    return np.asarray(values / (2 - values))


def compute_hausdorff95(predicted: Masks, truth: Masks, spacing: Sequence[tuple[float, float]] | None = None) -> Array:
    """HD95: the larger of the two directed 95th percentiles of contour distances, by MONAI.

    Args:
        predicted: bool [n, h, w].
        truth: bool [n, h, w].
        spacing: (row, column) size of a pixel per image, in mm; None measures in pixels.

    Returns:
        float64 [n]; NaN where the true mask is empty. An empty prediction scores the diagonal of
        the image, so that a miss cannot improve the mean (our choice).

    Units:
        mm with `spacing`, else pixels of the given grid.
    """
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    result = np.full(len(truth), np.nan)
    for index, (p, t) in enumerate(zip(predicted, truth, strict=True)):
        if not t.any():
            continue
        step = spacing[index] if spacing is not None else (1.0, 1.0)
        if p.any():
            a, b = (torch.from_numpy(np.ascontiguousarray(m))[None, None].float() for m in (p, t))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # raised inside MONAI
                distance = compute_hausdorff_distance(a, b, True, percentile=95, spacing=list(step))
            result[index] = float(distance)
        else:
            result[index] = float(np.hypot(t.shape[0] * step[0], t.shape[1] * step[1]))
    return result
