"""Warn about masks that lie outside the body."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.display.resample import resize_pixels

GRID_SIZE_PX = 128
DARK_LEVEL = 0.06
MAX_OUTSIDE_SHARE = 0.25


def find_air_outside_body(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Air outside the body, padding or shutter of a radiograph: bool [128, 128].

    Dark pixels connected to the border of the image; the chest wall separates the dark lungs from
    it (our choice).
    """
    from scipy import ndimage

    dark = resize_pixels(image, GRID_SIZE_PX, GRID_SIZE_PX) < DARK_LEVEL
    labels, _ = ndimage.label(dark)
    border_labels = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.asarray(np.isin(labels, np.unique(border_labels[border_labels > 0])))


def warn_outside_body(image: NDArray[np.float32], masks: Mapping[str, NDArray[np.bool_]]) -> tuple[str, ...]:
    """A warning for each mask of which more than a quarter lies outside the body."""
    outside_body = find_air_outside_body(image)
    if not outside_body.any():
        return ()
    warnings = []
    for name, mask in sorted(masks.items()):
        coverage = resize_pixels(mask.astype(np.float32), GRID_SIZE_PX, GRID_SIZE_PX)
        outside_share = float(coverage[outside_body].sum() / max(float(coverage.sum()), 1e-6))
        if outside_share > MAX_OUTSIDE_SHARE:
            warnings.append(f"{name}: {outside_share:.0%} of it lies outside the body; see preview.png")
    return tuple(warnings)
