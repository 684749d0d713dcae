"""Cardiothoracic ratio from masks of the lungs and the heart, with the measured lines.

The ratio (Danzer 1919) is the transverse cardiac diameter over the greatest inner thoracic
diameter. The cardiac one is the sum of the greatest distances of the heart's borders to the right
and to the left of the midline: the horizontal extent of its mask, wherever the midline lies. The
thoracic one is the greatest distance between the outer borders of the lungs. Both are horizontal,
so the ratio needs no pixel spacing, only square pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medprior.geometry import find_mask_box

Mask = NDArray[np.bool_]
LUNG_STRUCTURES = ("left_lung", "right_lung", "lungs")
# Outside this range failed masks are likelier than such a heart on a frontal chest (our choice).
PLAUSIBLE_RATIO_RANGE = (0.25, 0.90)
MIN_AREA_FRACTION = 0.002  # smallest measured structure, as a share of the picture (our choice)


@dataclass(frozen=True)
class CardiothoracicRatio:
    """One measurement.

    Attributes:
        ratio: cardiac / thoracic diameter.
        heart: the ends of the heart, ((x, y) on the picture's left, (x, y) on its right), pixel
            coordinates with (0, 0) the upper-left corner of the upper-left pixel.
        thorax: (x0, x1, y): the widest row of the lungs and its two outer borders.
        plausible: the ratio lies in `PLAUSIBLE_RATIO_RANGE`.
    """

    ratio: float
    heart: tuple[tuple[float, float], tuple[float, float]]
    thorax: tuple[float, float, float]

    @property
    def plausible(self) -> bool:
        """Whether the ratio lies in `PLAUSIBLE_RATIO_RANGE`."""
        return PLAUSIBLE_RATIO_RANGE[0] <= self.ratio <= PLAUSIBLE_RATIO_RANGE[1]


def measure_cardiothoracic_ratio(
    masks: Mapping[str, Mask], with_isolated_pixels: bool = True
) -> CardiothoracicRatio | None:
    """Measure the ratio, or None where the heart or the lungs are missing.

    Args:
        masks: structure name -> bool [rows, columns], all of one shape, square pixels.
        with_isolated_pixels: the masks may hold more than their largest component, which alone is measured.
    """
    keep = keep_largest_component if with_isolated_pixels else np.asarray
    lungs = [keep(masks[name]) for name in LUNG_STRUCTURES[:2] if name in masks]
    if "lungs" in masks:
        lungs.append(masks["lungs"])
    if "heart" not in masks or not lungs:
        return None
    chest: Mask = np.logical_or.reduce(lungs)
    heart = keep(masks["heart"])
    if min(np.count_nonzero(heart), np.count_nonzero(chest)) < MIN_AREA_FRACTION * chest.size:
        return None
    first, last = find_row_borders(chest)
    row = find_middle_argmax(last - first)
    x0, x1 = float(first[row]), float(last[row])
    left, right = find_row_borders(heart)
    left_row, right_row = find_middle_argmax(-left), find_middle_argmax(right)
    ends = ((float(left[left_row]), left_row + 0.5), (float(right[right_row]), right_row + 0.5))
    ratio = (ends[1][0] - ends[0][0]) / (x1 - x0)
    return CardiothoracicRatio(ratio, ends, (x0, x1, row + 0.5))


def find_middle_argmax(values: NDArray[np.float64]) -> int:
    """Index of the largest value; the middle one of several equal ones."""
    best = np.flatnonzero(values == values.max())
    return int(best[len(best) // 2])


def find_row_borders(mask: Mask) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Left and right border of a mask in each row; (inf, -inf) in rows without it."""
    nonempty = mask.any(axis=1)
    first = np.where(nonempty, mask.argmax(axis=1), np.inf)
    last = np.where(nonempty, mask.shape[1] - mask[:, ::-1].argmax(axis=1), -np.inf)
    return first, last


def keep_largest_component(mask: Mask) -> Mask:
    """The largest connected component of a mask, without isolated false-positive pixels."""
    if not mask.any():
        return mask
    box = find_mask_box(mask)
    labels, count = ndimage.label(mask[box])
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = np.zeros_like(mask)
    largest[box] = labels == sizes.argmax()
    return largest


def stretch_to_square_pixels(mask: Mask, aspect: float) -> Mask:
    """A mask on the unit square [s, s], stretched to square pixels by its image's width / height.

    Each pixel takes the value at its own centre.
    """
    side = mask.shape[0]
    width = max(1, round(side * aspect))
    column = ((np.arange(width) + 0.5) * side / width).astype(np.intp)
    return mask[:, column]
