"""Masks drawn where there is no patient: in the dark around the body."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.display.resample import resize_pixels

GRID_SIZE_PX = 128
DARK_LEVEL = 0.06
MAX_OUTSIDE_SHARE = 0.25


def find_air_outside_body(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a radiograph shows air outside the body, padding or shutter: bool [128, 128].

    Dark squares that hang together with the picture's border; the lungs are dark too, but the
    chest wall lies between (our choice).
    """
    from scipy import ndimage

    dark = resize_pixels(image, GRID_SIZE_PX, GRID_SIZE_PX) < DARK_LEVEL
    labels, _ = ndimage.label(dark)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.asarray(np.isin(labels, np.unique(edge[edge > 0])))


def warn_outside_body(image: NDArray[np.float32], masks: Mapping[str, NDArray[np.bool_]]) -> tuple[str, ...]:
    """A warning for each mask of which more than a quarter lies outside the body."""
    around = find_air_outside_body(image)
    if not around.any():
        return ()
    found = []
    for name, mask in sorted(masks.items()):
        share = resize_pixels(mask.astype(np.float32), GRID_SIZE_PX, GRID_SIZE_PX)
        outside = float(share[around].sum() / max(float(share.sum()), 1e-6))
        if outside > MAX_OUTSIDE_SHARE:
            found.append(f"{name}: {outside:.0%} of it lies outside the body; see preview.png")
    return tuple(found)
