"""Softens masks by a Gaussian blur, since their borders are uncertain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medprior.annotate import Annotation

Maps = NDArray[np.float32]


def soften_maps(coverage: Maps, softness: float) -> Maps:
    """Gaussian blur of maps: float32 [..., h, h] in [0, 1] both.

    Args:
        coverage: share of each pixel that a structure covers.
        softness: standard deviation in percent of the side.
    """
    sigma = softness / 100 * coverage.shape[-1]
    spread = (0,) * (coverage.ndim - 2) + (sigma, sigma)
    soft = ndimage.gaussian_filter(coverage, spread, mode="constant")
    return np.clip(soft, 0, 1).astype(np.float32)


def build_static_maps(annotation: Annotation, size: int, softness: float) -> Maps:
    """The annotated masks themselves, softened, the same for every image: float32 [K, size, size].

    K follows `annotation.structures`.
    """
    return soften_maps(annotation.coverage(size), softness)
