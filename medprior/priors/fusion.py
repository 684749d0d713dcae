"""Locally weighted fusion of the label maps of several examples on one image.

Locally weighted label fusion (Artaechevarria et al. 2009): at each pixel an example counts by how
well it matches the image there. The weight is the squared local correlation (our choice; see the
room's README).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medprior.metrics.overlap import compute_dice
from medprior.priors.free_form import downsample_picture, interpolate_bilinear
from medprior.priors.local_correlation import VARIANCE_FLOOR, LocalCorrelation
from medprior.priors.registration import Example, Registration, equalise_histogram

Array = NDArray[np.float64]
Layers = NDArray[np.float32]
CORRELATION_RADIUS_PX = 4
MIN_FUSION_WEIGHT = 1e-3


def compute_local_match(picture: NDArray[np.float32], example: Example, registration: Registration, size: int) -> Array:
    """How well an example matches the picture around each pixel: float64 [size, size] in [0, 1].

    Compared at half the resolution of registration; negative correlations are 0.
    """
    half = max(16, len(picture) // 2)
    fixed, moving = downsample_picture(equalise_histogram(picture), half), downsample_picture(example.equalised, half)
    moved = interpolate_bilinear(moving, registration.deformation.grid(half) * half - 0.5)[0]
    local = LocalCorrelation(fixed, CORRELATION_RADIUS_PX)
    mean = local.mean(moved)
    variance = local.mean(moved**2) - mean**2 + VARIANCE_FLOOR
    common = local.mean(fixed * moved) - local.mean_fixed * mean
    values = np.clip(common / np.sqrt(local.variance_fixed * variance), 0, 1)
    return np.asarray(ndimage.zoom(values, size / half, order=1, grid_mode=True, mode="nearest"))


def fuse_label_maps(layers: Layers, matches: Sequence[Array]) -> Layers:
    """One map per structure from the maps of R examples.

    Shape:
        layers: float32 [R, K, s, s] in [0, 1]. matches: R of float64 [s, s] in [0, 1].
        float32 [K, s, s] in [0, 1] back.
    """
    if len(layers) == 1:
        return np.asarray(layers[0])
    weight = np.stack(matches) ** 2 + MIN_FUSION_WEIGHT
    weight /= weight.sum(axis=0)
    return np.asarray((weight[:, None] * layers).sum(axis=0), dtype=np.float32)


def compute_disagreement(layers: Layers) -> float:
    """1 - mean Dice of the maps of each example with the mean map, over structures; 0 for one."""
    if len(layers) < 2:
        return 0.0
    dice = compute_dice(layers >= 0.5, layers.mean(axis=0) >= 0.5)
    return float(1 - np.mean(np.nan_to_num(dice)))
