"""Segmentation metrics: Dice, IoU, and HD95 in percent of the longer side, in mm where the pixel size is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.evaluate.study import add_structure_means
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Estimate, Resamples, estimate_mean
from medprior.metrics.overlap import compute_dice, compute_hausdorff95, convert_dice_to_iou

SEGMENTATION_PREFIX = "segmentation"
OVERLAP_METRICS = ("dice", "iou", "hd95_percent", "hd95_mm")
MEASURED_SPACINGS = {"calibrated", "detector"}  # estimated and film spacings are not accurate enough


def compute_pixel_percents(cohort: Cohort, size: int) -> Array:
    """Size of a pixel of the unit square, (row, column), in percent of the image's longer side: float64 [n, 2]."""
    sides = cohort.manifest[["rows", "cols"]].to_numpy(np.float64)
    return np.asarray(100 * sides / sides.max(axis=1, keepdims=True) / size)


def compute_longer_sides_mm(cohort: Cohort) -> Array:
    """The longer side of every image in millimetres: float64 [n], NaN where the pixel size is unknown."""
    table = cohort.manifest
    spacing = table["spacing_mm"].where(table["spacing_kind"].isin(MEASURED_SPACINGS))
    return np.asarray(table[["rows", "cols"]].max(axis=1).to_numpy(np.float64) * spacing.to_numpy(np.float64))


def compute_overlap_scores(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], cohort: Cohort, with_distances: bool = True
) -> dict[str, Array]:
    """Scores of one structure per image, NaN where its mask is empty or unknown.

    Shape:
        predicted and truth bool [n, s, s] on unit squares; float64 [n] each: `dice`, `iou`, `hd95_percent` of the
        image's longer side, `hd95_mm` (NaN also where the pixel size is unknown); both `with_distances` only, as they
        take most of the time.
    """
    values = compute_dice(predicted, truth)
    scores = {"dice": values, "iou": convert_dice_to_iou(values)}
    if not with_distances:
        return scores
    pixels = [(float(row), float(column)) for row, column in compute_pixel_percents(cohort, truth.shape[-1])]
    distance = compute_hausdorff95(predicted, truth, pixels)
    distance_mm = distance / 100 * compute_longer_sides_mm(cohort)
    return scores | {"hd95_percent": distance, "hd95_mm": distance_mm}


def estimate_segmentation(scores: dict[str, dict[str, Array]], draws: Resamples) -> dict[str, Estimate]:
    """`segmentation.<metric>.<structure>` and `.mean` from structure -> metric of `OVERLAP_METRICS` -> [n]."""
    result: dict[str, Estimate] = {}
    for structure, metrics in scores.items():
        for metric, values in metrics.items():
            result[f"{SEGMENTATION_PREFIX}.{metric}.{structure}"] = estimate_mean(values, draws)
    result = {key: estimate for key, estimate in result.items() if estimate.n}
    add_structure_means(result, [f"{SEGMENTATION_PREFIX}.{metric}" for metric in OVERLAP_METRICS])
    return result
