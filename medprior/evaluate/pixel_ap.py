"""A soft map against a mask, pixel by pixel: whether it ranks the organ above the rest.

Pixel-AP is the area under the precision-recall curve over the pixels of one image by the step rule,
then the mean over images whose mask is not empty. Chance is the organ's share of the image. It
judges ranking only and likes soft maps, so IoU at 60 % of the mass and Dice at one threshold stand
beside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.evaluate.ranking import Array, divided

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]
THRESHOLDS = np.arange(1, 100) / 100


def pixel_average_precision(maps: Maps, masks: Masks) -> Array:
    """Pixel-AP of every map against every mask of one image.

    Each map is sorted once, whatever the number of masks; pixels of equal value form one step.

    Shape:
        maps float32 [M, h, w], masks bool [K, h, w]; float64 [M, K] back, NaN for an empty mask.
    """
    flat = masks.reshape(len(masks), -1)
    size = flat.sum(axis=1).astype(np.float64)
    result = np.empty((len(maps), len(masks)))
    for row, values in enumerate(maps.reshape(len(maps), -1)):
        order = np.argsort(values, kind="stable")[::-1]
        ranked = values[order]
        last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
        true = np.cumsum(flat[:, order], axis=1, dtype=np.int64)[:, last]
        gain = np.diff(true, axis=1, prepend=0)
        result[row] = divided((gain * (true / (last + 1.0))).sum(axis=1), size)
    return result


def mass_mask(maps: Maps, share: float = 0.6) -> Masks:
    """The smallest set of pixels that holds `share` of each map's mass.

    Shape:
        float32 [M, h, w] >= 0; bool [M, h, w] back, empty for a map without mass.

    The rule is that of DINO and SAR, applied after interpolation instead of to patches (our choice:
    on the patch grid the result measures the patch size).
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    order = np.argsort(-flat, axis=1, kind="stable")
    before = np.cumsum(np.take_along_axis(flat, order, axis=1), axis=1)
    total = before[:, -1:]
    before = np.roll(before, 1, axis=1)
    before[:, 0] = 0
    chosen = np.zeros(flat.shape, dtype=bool)
    np.put_along_axis(chosen, order, before < share * total, axis=1)
    return chosen.reshape(maps.shape)


def dice_curve(maps: Maps, masks: Masks) -> Array:
    """Dice of every map against every mask of one image at each of `THRESHOLDS`.

    A map is divided by its own maximum first, so that one threshold means the same in every image.

    Shape:
        maps float32 [M, h, w] >= 0, masks bool [K, h, w]; float64 [M, K, 99] back, NaN for an
        empty mask.
    """
    flat = masks.reshape(len(masks), -1)
    size = flat.sum(axis=1)
    result = np.full((len(maps), len(masks), len(THRESHOLDS)), np.nan)
    for row, values in enumerate(maps.reshape(len(maps), -1).astype(np.float64)):
        level = np.searchsorted(THRESHOLDS, values / max(values.max(), 1e-30), side="right")
        above = reached(level)
        for column in np.flatnonzero(size):
            both = reached(level[flat[column]])
            result[row, column] = 2 * both / (above + size[column])
    return result


def reached(level: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many pixels reach each threshold, from the number of thresholds each pixel reaches."""
    histogram = np.bincount(level, minlength=len(THRESHOLDS) + 1)
    return np.cumsum(histogram[::-1])[::-1][1:]


def best_threshold(curves: Array) -> tuple[int, float]:
    """Index and value of the threshold with the best mean of validation `curves` [n, 99]."""
    known = curves[~np.isnan(curves).any(axis=1)]
    index = int(np.argmax(known.mean(axis=0))) if len(known) else len(THRESHOLDS) // 2
    return index, float(THRESHOLDS[index])
