"""The maps of a spatial prior as predictors: the baseline for attention maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from medprior.cohort import Cohort

if TYPE_CHECKING:
    from medprior.priors import SpatialPrior


def resize_maps(maps: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Maps [n, K, h, w] resized to [n, K, size, size], bilinear with antialiasing."""
    tensor = torch.from_numpy(np.array(maps, dtype=np.float32))
    resized = F.interpolate(tensor, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return resized.numpy()


class PriorSource:
    """A prior as a source of maps (see `scoring.MapSource`).

    Args:
        prior: the prior.
        per_image: use the maps fitted to each image instead of the static ones.
        batch: images per batch.
    """

    has_selectable_maps = False

    def __init__(self, prior: SpatialPrior, per_image: bool, batch: int = 64) -> None:
        self.prior, self.per_image, self.batch = prior, per_image, batch
        self.assigned = {name: index for index, name in enumerate(prior.names)}
        self.count = len(prior.names)

    def batches(self, cohort: Cohort, size: int) -> Iterator[NDArray[np.float32]]:
        """Prior maps, float32 [b, K, size, size] on unit squares."""
        static = resize_maps(self.prior.maps[None], size)
        for start in range(0, len(cohort), self.batch):
            ids = cohort.image_ids[start : start + self.batch]
            if self.per_image:
                yield resize_maps(self.prior.batch(ids), size)
            else:
                yield np.repeat(static, len(ids), axis=0)
