"""Indices of the images of each step, from seed and step alone, so that resume is exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHUFFLE_STREAM, CROP_STREAM, MASK_STREAM, VISIBLE_STREAM = 1, 2, 4, 5
"""Random number streams: one per use, so that no use changes the numbers of another."""


def compute_step_indices(seed: int, step: int, images: int, batch: int) -> NDArray[np.intp]:
    """Indices of the images of one step.

    Every epoch is a new permutation; a step that crosses its end continues in the next one, so that all images are used
    equally often.

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
