"""What several examples say of one image, weighted pixel by pixel by how well each of them matches.

Locally weighted label fusion (Artaechevarria et al. 2009): an example that matches the image here
speaks louder here. The weight is the squared local correlation (our choice; see the room's README).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medprior.priors.free_form import bilinear, reduced
from medprior.priors.local_correlation import FLOOR, LocalCorrelation
from medprior.priors.registered import Example, Registration, equalised

Array = NDArray[np.float64]
Layers = NDArray[np.float32]
RADIUS = 4
LEAST = 1e-3


def match(picture: NDArray[np.float32], example: Example, found: Registration, size: int) -> Array:
    """How well an example matches the picture around each pixel: float64 [size, size] in [0, 1].

    Compared on half the registration's resolution; a negative correlation counts as none.
    """
    half = max(16, len(picture) // 2)
    fixed, moving = reduced(equalised(picture), half), reduced(example.levelled, half)
    moved = bilinear(moving, found.deformation.grid(half) * half - 0.5)[0]
    local = LocalCorrelation(fixed, RADIUS)
    mean = local.mean(moved)
    variance = local.mean(moved**2) - mean**2 + FLOOR
    common = local.mean(fixed * moved) - local.mean_fixed * mean
    values = np.clip(common / np.sqrt(local.variance_fixed * variance), 0, 1)
    return np.asarray(ndimage.zoom(values, size / half, order=1, grid_mode=True, mode="nearest"))


def fused(layers: Layers, matches: Sequence[Array]) -> Layers:
    """One map per structure from what R examples say.

    Shape:
        layers: float32 [R, K, s, s] in [0, 1]. matches: R of float64 [s, s] in [0, 1].
        float32 [K, s, s] in [0, 1] back.
    """
    if len(layers) == 1:
        return np.asarray(layers[0])
    weight = np.stack(matches) ** 2 + LEAST
    weight /= weight.sum(axis=0)
    return np.asarray((weight[:, None] * layers).sum(axis=0), dtype=np.float32)


def disagreement(layers: Layers) -> float:
    """1 - mean Dice of each example's say with the mean of all, over structures; 0 for one."""
    if len(layers) < 2:
        return 0.0
    mean = layers.mean(axis=0) >= 0.5
    each = layers >= 0.5
    both = (each & mean).sum(axis=(-2, -1))
    total = each.sum(axis=(-2, -1)) + mean.sum(axis=(-2, -1))
    return float(1 - np.mean(2 * both / np.maximum(total, 1)))
