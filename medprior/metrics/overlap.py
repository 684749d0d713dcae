"""How well a predicted mask covers the true one: Dice, IoU, and the distance of contours."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medprior.metrics.auc import Array, safe_divide

Masks = NDArray[np.bool_]


def compute_dice(predicted: Masks, truth: Masks) -> Array:
    """Dice of each pair; NaN where the true mask is empty (nothing to find).

    Shape:
        bool [..., h, w] both; float64 [...] back, in [0, 1].
    """
    both = np.count_nonzero(predicted & truth, axis=(-2, -1))
    size = np.count_nonzero(truth, axis=(-2, -1))
    total = size + np.count_nonzero(predicted, axis=(-2, -1))
    return np.where(size > 0, safe_divide(2.0 * both, np.asarray(total, float)), np.nan)


def convert_dice_to_iou(values: Array) -> Array:
    """IoU (Jaccard) from Dice: D / (2 - D)."""
    return np.asarray(values / (2 - values))


def compute_hausdorff95(predicted: Masks, truth: Masks, spacing: Sequence[tuple[float, float]] | None = None) -> Array:
    """The larger of the two directed 95th percentiles of contour distances (HD95), by MONAI.

    Args:
        predicted: bool [n, h, w].
        truth: bool [n, h, w].
        spacing: (row, column) size of a pixel per image, in mm; None measures in pixels.

    Returns:
        float64 [n]; NaN where the true mask is empty. An empty prediction counts as the diagonal of
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
                warnings.simplefilter("ignore", FutureWarning)  # of MONAI's own inner call
                distance = compute_hausdorff_distance(a, b, True, percentile=95, spacing=list(step))
            result[index] = float(distance)
        else:
            result[index] = float(np.hypot(t.shape[0] * step[0], t.shape[1] * step[1]))
    return result
