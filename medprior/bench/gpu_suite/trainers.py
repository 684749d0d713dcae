"""Trainers over pictures in memory: what the measurements of a GPU run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medprior.cohort.array_file import Rows
from medprior.cohort.squares import SquareImages
from medprior.pretrain.learner import Learner
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.trainer import PretrainTrainer
from medprior.pretrain.views.dataset import SquaresDataset
from medprior.pretrain.views.stored_batches import StoredBatches, build_step_loader
from medprior.priors import SpatialPrior
from medprior.settings import merge_mappings

COHORT_IMAGES = 100_000
"""Images that settings are resolved for: the published ones, not those of small cohorts."""
MAP_SIDE = 128

VIT_SMALL: dict[str, Any] = {
    "network": {"width": 384, "depth": 12, "heads": 6, "patch": 16, "image_size": 224},
    "crops": {"global_size": 224, "local_size": 96, "locals": 8},
}
TINY: dict[str, Any] = {
    "network": {"width": 48, "depth": 2, "heads": 6, "patch": 8, "image_size": 48},
    "crops": {"global_size": 48, "local_size": 24, "locals": 2},
    "dino": {"prototypes": 64, "hidden": 32, "bottleneck": 16},
}


@dataclass(frozen=True)
class Bench:
    """Where and how large to measure.

    Attributes:
        device: the device. tiny: the smallest sizes, to try the measurements themselves.
    """

    device: torch.device
    tiny: bool = False

    @property
    def is_cuda(self) -> bool:
        """Whether the device is a GPU of CUDA."""
        return self.device.type == "cuda"

    def synchronise(self) -> None:
        """Wait until the device has nothing to do."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def build_settings(self, recipe: str, batch: int, **changes: Any) -> PretrainSettings:
        """Settings of a run of `recipe`, 1 000 steps or so, with `changes`."""
        values = {"recipe": recipe, "batch": batch, "steps": 1000, "window": 20}
        shape = TINY if self.tiny else VIT_SMALL
        settings = PretrainSettings.from_values(merge_mappings(values | shape, changes)).resolve(COHORT_IMAGES)
        return settings.model_copy(update={"steps": 1000, "epochs": 1})


class NoiseRows:
    """Squares of noise in memory, uint16 [n, size, size], which are read as those of a cache."""

    dtype = np.dtype(np.uint16)

    def __init__(self, rng: np.random.Generator, count: int, size: int) -> None:
        self.shape = count, size, size
        self._pixels = rng.integers(0, 2**16, self.shape, dtype=np.uint16)

    def read(self, rows: Rows) -> NDArray[np.uint16]:
        """The squares of these rows, [m, size, size]."""
        return self._pixels[rows]


class RandomSquares(SquaresDataset):
    """Pictures, and with `maps` a prior with maps of each, made of noise and kept in memory."""

    def __init__(self, count: int, size: int, maps: bool) -> None:
        rng = np.random.default_rng(0)
        self.images = SquareImages(NoiseRows(rng, count, size), np.arange(count))
        self.aspect = np.linspace(0.8, 1.2, count)
        self.ids = tuple(map(str, range(count)))
        self.prior = build_noise_prior(rng, self.ids) if maps else None


def build_noise_prior(rng: np.random.Generator, image_ids: Sequence[str]) -> SpatialPrior:
    """A prior of three structures, with trusted maps for every image."""
    import pandas as pd

    shape = (3, MAP_SIDE, MAP_SIDE)
    own = rng.integers(0, 2**8, (len(image_ids), *shape), dtype=np.uint8)
    table = pd.DataFrame({"image_id": image_ids, "trust": 1.0})
    common = rng.random(shape, dtype=np.float32)
    return SpatialPrior(common, ("first", "second", "third"), "affine", "annotation", per_image=own, table=table)


def build_seeded_learner(settings: PretrainSettings) -> Learner:
    """A learner from a fixed seed, three structures on the first heads."""
    torch.manual_seed(0)
    return Learner(settings, range(3) if settings.needs_prior else ())


def build_noise_trainer(bench: Bench, settings: PretrainSettings, batches: int = 1) -> PretrainTrainer:
    """The trainer of pretraining over `batches` batches of noise, which it may see again and again."""
    source = settings.crops.global_size * 3 // 2
    data = RandomSquares(batches * settings.batch, source, settings.needs_prior)
    loader = build_step_loader(data, settings, bench.device)
    return PretrainTrainer(build_seeded_learner(settings), loader, settings, bench.device)


def build_device_batch(trainer: PretrainTrainer) -> dict[str, torch.Tensor]:
    """The first images of a trainer's cohort, on its device already."""
    batch = read_first_batch(trainer.multi_crops.batches, trainer.settings)
    return {key: value.to(trainer.state.device) for key, value in batch.items()}


def read_first_batch(batches: StoredBatches, settings: PretrainSettings) -> dict[str, torch.Tensor]:
    """The first images of a cohort as they are stored, a `StoredBatch` on the CPU."""
    return dict(batches.__getitems__(range(settings.batch)))  # type: ignore[arg-type]


class TimedTrainer:
    """A trainer whose steps are timed without its loader: views, losses, gradients, both updates and logs."""

    def __init__(self, bench: Bench, settings: PretrainSettings) -> None:
        self.bench = bench
        self.trainer = build_noise_trainer(bench, settings)
        self.batch = build_device_batch(self.trainer)

    def time_steps(self, count: int) -> float:
        """Seconds of a step, the mean of `count`."""
        self.bench.synchronise()
        started = time.perf_counter()
        for _ in range(count):
            self.trainer.state.iteration += 1
            self.trainer.step(self.trainer, self.batch)
        self.bench.synchronise()
        return (time.perf_counter() - started) / count
