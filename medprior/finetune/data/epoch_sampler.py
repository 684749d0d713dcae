"""Order of the images as a function of seed and epoch alone, so that resuming is exact."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from medprior.pretrain.distributed import process_rank, world_size

ORDER_STREAM, VIEW_STREAM, STEP_STREAM, ANGLE_STREAM = 11, 12, 13, 14


def shuffle_epoch(seed: int, epoch: int, images: int) -> NDArray[np.intp]:
    """A permutation of the images for one epoch (1, 2, ...)."""
    return np.random.default_rng([seed, ORDER_STREAM, epoch]).permutation(images)


class EpochSampler(Sampler[int]):
    """Shuffled indices of the current epoch; of W processes each takes every W-th index.

    The last batch may be smaller; with several processes the order is padded from its start so that
    all do the same number of steps.

    Attributes:
        epoch: the current epoch, set before it starts.
        skip: images of this process to skip once, when a run resumes within an epoch.
    """

    def __init__(self, images: int, seed: int) -> None:
        self.images = images
        self.seed = seed
        self.epoch = 1
        self.skip = 0

    def __len__(self) -> int:
        return -(-self.images // world_size())

    def __iter__(self) -> Iterator[int]:
        order = np.resize(shuffle_epoch(self.seed, self.epoch, self.images), len(self) * world_size())
        indices = order[process_rank() :: world_size()][self.skip :]
        self.skip = 0
        return iter(indices.tolist())
