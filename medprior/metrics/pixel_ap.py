"""Pixel-AP, thresholding by mass, and Dice at all thresholds of a soft map against a mask.

Pixel-AP is the area under the precision-recall curve over the pixels of one image by the step rule,
then the mean over images whose mask is not empty. Chance is the organ's share of the image. It
measures ranking only and favours soft maps, so IoU at 60 % of the mass and Dice at one threshold
are reported with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.metrics.auc import Array
from medprior.metrics.overlap import compute_dice_from_counts

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]
DICE_THRESHOLDS = np.arange(1, 100) / 100


def compute_pixel_ap(maps: Maps, masks: Masks) -> Array:
    """Pixel-AP of every map against every mask of one image.

    Precision and recall need only the number of pixels at or above the value of each pixel of the
    structure; equal values form one step.

    Shape:
        maps float32 [M, h, w], masks bool [K, h, w]; float64 [M, K] back, NaN for an empty mask.
    """
    result = np.full((len(maps), len(masks)), np.nan)
    for row, values in enumerate(maps):
        ascending = np.sort(values, axis=None)
        for column, mask in enumerate(masks):
            inside = np.sort(values[mask])
            if len(inside):
                positives = len(ascending) - np.searchsorted(ascending, inside, "left")
                true_positives = len(inside) - np.searchsorted(inside, inside, "left")
                # each pixel of the structure adds 1 / size of recall at the precision of its value
                result[row, column] = float(np.mean(true_positives / positives))
    return result


def threshold_by_mass(maps: Maps, share: float = 0.6) -> Masks:
    """The smallest set of pixels that holds `share` of each map's mass.

    Shape:
        float32 [M, h, w] >= 0; bool [M, h, w] back, empty for a map without mass.

    The rule of DINO (arXiv 2104.14294) and SAR (arXiv 2206.04636), applied after interpolation
    instead of to patches (our choice: on the patch grid the result depends on the patch size). Of
    equal pixels the first are taken.
    """
    masks = np.zeros(maps.shape, dtype=bool)
    for values, mask in zip(maps, masks, strict=True):
        descending = np.sort(values, axis=None)[::-1]
        mass = np.cumsum(descending, dtype=np.float64)
        if mass[-1] > 0:
            last = min(int(np.searchsorted(mass, share * mass[-1])), len(mass) - 1)
            mask[:] = values > descending[last]
            equal = np.flatnonzero(values == descending[last])
            mask.flat[equal[: last + 1 - np.count_nonzero(mask)]] = True
    return masks


def compute_dice_curve(maps: Maps, masks: Masks) -> Array:
    """Dice of every map against every mask of one image at each of `DICE_THRESHOLDS`.

    A map is divided by its own maximum first, so that a threshold has one meaning in all images.

    Shape:
        maps float32 [M, h, w] >= 0, masks bool [K, h, w]; float64 [M, K, 99] back, NaN for an
        empty mask.
    """
    result = np.full((len(maps), len(masks), len(DICE_THRESHOLDS)), np.nan)
    for row, values in enumerate(maps.astype(np.float64)):
        relative = values / max(float(values.max()), 1e-30)
        ascending = np.sort(relative, axis=None)
        above = len(ascending) - np.searchsorted(ascending, DICE_THRESHOLDS, "left")
        for column, mask in enumerate(masks):
            inside = np.sort(relative[mask])
            if len(inside):
                both = len(inside) - np.searchsorted(inside, DICE_THRESHOLDS, "left")
                result[row, column] = compute_dice_from_counts(both, above, len(inside))
    return result


def find_best_threshold(curves: Array) -> tuple[int, float]:
    """Index and value of the threshold with the best mean of validation `curves` [n, 99]."""
    known = curves[~np.isnan(curves).any(axis=1)]
    index = int(np.argmax(known.mean(axis=0))) if len(known) else len(DICE_THRESHOLDS) // 2
    return index, float(DICE_THRESHOLDS[index])
