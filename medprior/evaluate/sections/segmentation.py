"""Segmentation metrics: Dice, IoU, and HD95 in mm where the pixel size is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.evaluate.study import add_structure_means
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Estimate, Resamples, estimate_mean
from medprior.metrics.overlap import compute_dice, compute_hausdorff95, convert_dice_to_iou

SEGMENTATION_PREFIX = "segmentation"
MEASURED_SPACINGS = {"calibrated", "detector"}  # estimated and film spacings are not accurate enough


def compute_pixel_sizes_mm(cohort: Cohort, size: int) -> Array:
    """Millimetres per pixel of the unit square, (row, column): float64 [n, 2], NaN if unknown."""
    table = cohort.manifest
    spacing = table["spacing_mm"].where(table["spacing_kind"].isin(MEASURED_SPACINGS))
    sides = table[["rows", "cols"]].to_numpy(np.float64)
    return np.asarray(sides * spacing.to_numpy(np.float64)[:, None] / size)


def compute_overlap_scores(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], cohort: Cohort) -> dict[str, Array]:
    """Scores of one structure per image, NaN where its mask is empty or unknown.

    Shape:
        predicted and truth bool [n, s, s] on unit squares; float64 [n] each: `dice`, `iou`,
        `hd95_mm` (NaN also where the pixel size is unknown).
    """
    values = compute_dice(predicted, truth)
    pixel_sizes = compute_pixel_sizes_mm(cohort, truth.shape[-1])
    distance = np.full(len(truth), np.nan)
    rows = np.flatnonzero(~np.isnan(pixel_sizes).any(axis=1))
    if len(rows):
        row_sizes = [(float(row), float(column)) for row, column in pixel_sizes[rows]]
        distance[rows] = compute_hausdorff95(predicted[rows], truth[rows], row_sizes)
    return {"dice": values, "iou": convert_dice_to_iou(values), "hd95_mm": distance}


def estimate_segmentation(scores: dict[str, dict[str, Array]], draws: Resamples) -> dict[str, Estimate]:
    """`segmentation.<dice|iou|hd95_mm>.<structure>` and `.mean` from structure -> metric -> [n]."""
    result: dict[str, Estimate] = {}
    for structure, metrics in scores.items():
        for metric, values in metrics.items():
            result[f"{SEGMENTATION_PREFIX}.{metric}.{structure}"] = estimate_mean(values, draws)
    result = {key: estimate for key, estimate in result.items() if estimate.n}
    add_structure_means(result, [f"{SEGMENTATION_PREFIX}.{metric}" for metric in ("dice", "iou", "hd95_mm")])
    return result
