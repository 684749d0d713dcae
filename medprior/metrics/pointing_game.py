"""Pointing games of a map against a finding: position of the maximum, and share of the mass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medprior.metrics.auc import Array

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]


def dilate_mask(mask: Masks, tolerance: float) -> Masks:
    """A mask [h, w] widened by `tolerance`, a share of the side."""
    if not mask.any() or tolerance <= 0:
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask) <= tolerance * mask.shape[-1])


def compute_pointing_game(maps: Maps, masks: Masks, tolerance: float) -> Array:
    """The pointing game: 1 where a map's maximum lies in the mask or within the tolerance of it.

    Zhang et al., IJCV 2018 (section 5.1; 15 pixels on their pictures). Where several pixels share
    the maximum, the share of them that hit: a flat map scores the area of the mask.

    Shape:
        maps float32 [M, h, w], masks bool [K, h, w]; float64 [M, K] back in [0, 1], NaN for an
        empty mask. A map without mass scores 0.
    """
    result = np.full((len(maps), len(masks)), np.nan)
    for column, mask in enumerate(masks):
        if mask.any():
            tolerated = dilate_mask(mask, tolerance)
            for row, values in enumerate(maps):
                top = float(values.max())
                result[row, column] = float(tolerated[values == top].mean()) if top > 0 else 0.0
    return result


def compute_energy_pointing(maps: Maps, masks: Masks) -> Array:
    """The share of a map's mass inside the mask (the energy-based pointing game).

    Wang et al., Score-CAM, CVPR workshops 2020 (section 4.3). A flat map scores the mask's area.

    Shape:
        maps float32 [M, h, w] >= 0, masks bool [K, h, w]; float64 [M, K] back in [0, 1], NaN for
        an empty mask. A map without mass scores 0.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    inside = flat @ masks.reshape(len(masks), -1).T.astype(np.float64)
    total = flat.sum(axis=1)[:, None]
    nonempty = np.asarray(masks.any(axis=(1, 2)))[None]
    return np.where(nonempty, inside / np.maximum(total, 1e-30), np.nan)
