"""Dataset of a cohort's images and prior maps on unit squares, and the sampler of the steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from medprior.pretrain.distributed import process_rank, world_size
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.batches import compute_step_indices

if TYPE_CHECKING:
    from medprior.cohort import Cohort
    from medprior.priors import SpatialPrior


class PretrainSample(TypedDict):
    """One image: `image` float32 [1, S, S] in [0, 1], `index` int64 [], and with a prior `maps`
    float32 [K, M, M] and `trust` float32 [] in [0, 1]."""

    image: Tensor
    index: Tensor


class SquaresDataset(Dataset[PretrainSample]):
    """Unit squares of a cohort's images with the maps of a prior.

    Args:
        cohort: training images.
        size: side of the squares, pixels.
        prior: maps for the objectives that need them, or None.
    """

    def __init__(self, cohort: Cohort, size: int, prior: SpatialPrior | None) -> None:
        self.images = cohort.open_squares(size)
        self.aspect = cohort.aspect
        self.ids = cohort.image_ids
        self.prior = prior

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> PretrainSample:
        sample: PretrainSample = {
            "image": torch.from_numpy(self.images[index])[None],
            "index": torch.tensor(index),
        }
        if self.prior is not None:
            maps = self.prior.batch([self.ids[index]])[0]
            sample["maps"] = torch.from_numpy(maps)  # type: ignore[typeddict-unknown-key]
            trust = self.prior.trust(self.ids[index])
            sample["trust"] = torch.tensor(trust)  # type: ignore[typeddict-unknown-key]
        return sample


class StepSampler(Sampler[list[int]]):
    """Batches of every step from `start` on; several processes share each."""

    def __init__(self, settings: PretrainSettings, images: int) -> None:
        self.settings = settings
        self.images = images
        self.start = 0

    def __len__(self) -> int:
        return (self.settings.steps or 0) - self.start

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.settings.steps or 0):
            batch = compute_step_indices(self.settings.seed, step, self.images, self.settings.batch)
            yield batch[compute_rank_slice(self.settings.batch)].tolist()


def compute_rank_slice(batch: int) -> slice:
    """The part of a global batch of this process; rank after rank, equal parts."""
    part = batch // world_size()
    return slice(process_rank() * part, (process_rank() + 1) * part)
