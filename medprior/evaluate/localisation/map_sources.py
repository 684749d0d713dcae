"""A spatial prior as its own predictor: the baseline that attention has to beat."""

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
    """Maps [n, K, h, w] on the unit square at another resolution, bilinear, without aliasing."""
    tensor = torch.from_numpy(np.array(maps, dtype=np.float32))
    out = F.interpolate(tensor, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return out.numpy()


class PriorSource:
    """A prior as a source of maps (see `localisation.MapSource`).

    Args:
        prior: the prior.
        per_image: its maps fitted to each image, instead of the static ones.
        batch: images at once.
    """

    searchable = False

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
