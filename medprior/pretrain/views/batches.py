"""Indices of the images of each step, from seed and step alone, so that resume is exact."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SHUFFLE_STREAM, CROP_STREAM, MASK_STREAM, VISIBLE_STREAM, QUERY_STREAM = 1, 2, 4, 5, 6
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
        part = compute_epoch_order(seed, epoch, images)[position : position + batch]
        parts.append(part)
        start += len(part)
        batch -= len(part)
    return np.concatenate(parts)


@lru_cache(maxsize=2)
def compute_epoch_order(seed: int, epoch: int, images: int) -> NDArray[np.intp]:
    """Order of all images in one epoch, int [images], read-only; the last two epochs are remembered.

    A permutation of ten million takes 0.15 s, and every step asks for it more than once.
    """
    order = np.random.default_rng([seed, SHUFFLE_STREAM, epoch]).permutation(images)
    order.setflags(write=False)
    return order
