"""Random crops of a batch (geometry only) from the random numbers of the step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.geometry import Views

Array = NDArray[np.float64]


def sample_crops(
    rng: np.random.Generator,
    aspect: Array,
    per_image: int,
    scale: tuple[float, float],
    grid: tuple[int, int],
    *,
    flip_p: float = 0.0,
    flip_first: bool = True,
    stretch: float = 4 / 3,
) -> Views:
    """Random resized crops (Caron et al. 2021), square in physical units up to `stretch`.

    Args:
        rng: random numbers of this step.
        aspect: [n] physical width / height of the source images.
        per_image: crops of each image.
        scale: share of the image's area that a crop covers, uniform between the two.
        grid: patch grid of the views.
        flip_p: probability of a left-right mirror; 0 by default, laterality is diagnostic.
        flip_first: whether crop 0 may be mirrored too.
        stretch: largest change of a crop's width / height.

    Returns:
        n * each views, image after image within each round: (image 0..n-1) for crop 0, then crop 1.
    """
    aspect = np.tile(np.asarray(aspect, dtype=np.float64), per_image)
    count = len(aspect)
    side = np.sqrt(rng.uniform(*scale, count) * aspect)
    ratio = np.sqrt(np.exp(rng.uniform(-np.log(stretch), np.log(stretch), count)))
    height, width = side / ratio, side * ratio / aspect
    y0 = sample_offsets(rng, height)
    x0 = sample_offsets(rng, width)
    flip = rng.random(count) < flip_p
    if not flip_first:
        flip[: count // per_image] = False
    return Views(np.stack([y0, x0, height, width], axis=1), flip, grid)


def sample_offsets(rng: np.random.Generator, length: Array) -> Array:
    """Start of intervals of `length` placed at random inside [0, 1], or around it if longer."""
    room = 1 - length
    return np.asarray(rng.random(len(length)) * room)
