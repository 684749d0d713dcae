"""Crops whole views and their targets on the device from one geometry record."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medprior.finetune.data.epoch_sampler import ANGLE_STREAM, VIEW_STREAM
from medprior.finetune.settings import AugmentSettings
from medprior.geometry import Views, create_whole_image_views
from medprior.networks.views import crop_views
from medprior.pretrain.views.intensity import apply_exposures, sample_exposures


def jitter_views(
    aspect: NDArray[np.float64], draws: NDArray[np.float64], settings: AugmentSettings, size: int
) -> Views:
    """Whole views, randomly shifted, scaled and stretched; at true aspect where `settings.stretch` is 0.

    Args:
        aspect: [V] width / height of the sources.
        draws: [V, 4], uniform in [0, 1]: scale, shift down, shift right, flip; a fifth column for stretch.
        settings: ranges of the changes.
        size: side of the views, pixels.
    """
    views = create_whole_image_views(aspect, (size, size))
    factor = (1 + settings.scale) ** (2 * draws[:, :1] - 1)
    if settings.stretch:
        stretch = (1 + settings.stretch) ** (draws[:, 4:5] - 0.5)
        factor = factor * np.concatenate([1 / stretch, stretch], axis=1)
    moved = views.zoom(factor, settings.translate * (2 * draws[:, 1:3] - 1))
    return Views(moved.box, draws[:, 3] < settings.flip_p, views.grid)


class PrepareWholeViews:
    """Turns a batch of `LabelledSample`s into network input and target; a MONAI `prepare_batch`.

    Args:
        size: side of the views, pixels.
        augment: None for the whole view without augmentation.
        seed: with epoch and image it determines every random number, whatever the batch.

    Attributes:
        epoch: set before each epoch.
    """

    def __init__(self, size: int, augment: AugmentSettings | None = None, seed: int = 0) -> None:
        self.size = size
        self.augment = augment
        self.seed = seed
        self.epoch = 1

    def geometry(
        self, aspect: NDArray[np.float64], index: NDArray[np.intp]
    ) -> tuple[Views, NDArray[np.float64] | None]:
        """Views of images `index` and, when augmenting, their exposures float64 [V, 4]."""
        if self.augment is None:
            return create_whole_image_views(aspect, (self.size, self.size)), None
        draws, exposures = [], []
        for number in index.tolist():
            rng = np.random.default_rng([self.seed, VIEW_STREAM, self.epoch, number])
            placement = rng.random(4)
            exposures.append(sample_exposures(rng, 1, self.augment.intensity)[0])
            draws.append(np.append(placement, rng.random()))
        return jitter_views(aspect, np.array(draws), self.augment, self.size), np.array(exposures)

    def sample_angles(self, index: NDArray[np.intp]) -> Tensor | None:
        """Rotations of images `index`, float64 [V] in radians; None where the settings have none."""
        if self.augment is None or not self.augment.rotate:
            return None
        streams = [np.random.default_rng([self.seed, ANGLE_STREAM, self.epoch, number]) for number in index.tolist()]
        degrees = [rng.uniform(-self.augment.rotate, self.augment.rotate) for rng in streams]
        return torch.from_numpy(np.deg2rad(degrees))

    def __call__(
        self,
        batch: Mapping[str, Tensor],
        device: torch.device | str | None = None,
        non_blocking: bool = False,
        **_: object,
    ) -> tuple[Tensor, Tensor]:
        """Views [B, 1, S, S] in [0, 1] and targets: [B, C], or [B, K, S, S]; NaN is unknown."""
        numbers = batch["index"].numpy()
        views, exposures = self.geometry(batch["aspect"].numpy(), numbers)
        angles = self.sample_angles(numbers)
        sources = batch["image"].to(device, non_blocking=non_blocking)
        target = batch["label"].to(device, non_blocking=non_blocking)
        index = torch.arange(len(sources), device=sources.device)
        images = crop_views(sources, views, self.size, index, angles=angles)
        if exposures is not None:
            images = apply_exposures(images, exposures)
        if target.ndim == 2:
            return images, target
        coverage = crop_views(target.float() / 255, views, self.size, index, angles=angles)
        known = batch["known"].to(device, non_blocking=non_blocking)
        return images, torch.where(known[:, :, None, None], coverage, torch.nan)
