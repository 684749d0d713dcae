"""Which images form the batch of a step: a function of seed and step alone, so resume is exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHUFFLE_STREAM, CROP_STREAM, NOISE_STREAM, MASK_STREAM, VISIBLE_STREAM = 1, 2, 3, 4, 5
"""Streams of random numbers; each use has its own, so that none disturbs another."""


def compute_step_indices(seed: int, step: int, images: int, batch: int) -> NDArray[np.intp]:
    """Indices of the images of one step.

    Every epoch is a new permutation; a step that crosses its end goes on in the next one, so that
    all images are seen equally often.

    Returns:
        int [batch].
    """
    start = step * batch
    parts = []
    while batch > 0:
        epoch, position = divmod(start, images)
        order = np.random.default_rng([seed, SHUFFLE_STREAM, epoch]).permutation(images)
        part = order[position : position + batch]
        parts.append(part)
        start += len(part)
        batch -= len(part)
    return np.concatenate(parts)
