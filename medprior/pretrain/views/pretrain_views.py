"""From a batch of the loader to the multi-crop batches of a step: views, prior maps, masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from medprior.networks.device import send_to_device
from medprior.pretrain.learner import Learner
from medprior.pretrain.objectives.objective import MultiCropBatch, PriorMaps
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewMaker
from medprior.pretrain.views.batches import compute_step_indices
from medprior.pretrain.views.dataset import compute_rank_slice
from medprior.pretrain.views.stored_batches import StoredBatches, decode_pixels, decode_prior


class MultiCropBatchMaker:
    """Makes the multi-crop batches of a step: this process's share of the batch, in parts.

    The views do not depend on the number of processes and parts.

    Attributes:
        parts: number of multi-crop batches of a step; may be raised while training.
    """

    def __init__(self, settings: PretrainSettings, batches: StoredBatches, learner: Learner) -> None:
        self.settings, self.batches, self.dataset, self.learner = settings, batches, batches.dataset, learner
        self._common_maps: Tensor | None = None
        self.parts = settings.accumulate
        self.views = ViewMaker(settings)

    def __call__(self, batch: Mapping[str, Tensor], step: int, device: torch.device) -> list[MultiCropBatch]:
        """Multi-crop batches of step `step` (from 0) on `device`; `batch` is a `StoredBatch`."""
        images, prior = self._load_images(batch, device), self._load_prior(batch, device)
        rank_slice = compute_rank_slice(self.settings.batch)
        size = len(images) // self.parts
        multi_crops = []
        for first in range(0, len(images), size):
            local = slice(first, first + size)
            part = slice(rank_slice.start + first, rank_slice.start + first + size)
            maps = PriorMaps(prior.maps[local], prior.weight[local]) if prior else None
            multi_crops.append(self._build_multi_crop(images[local], maps, step, part))
        return multi_crops

    def _load_images(self, batch: Mapping[str, Tensor], device: torch.device) -> Tensor:
        """float32 [B, 1, S, S] in [0, 1] on `device`."""
        resident = self.batches.resident
        if resident is not None:
            return decode_pixels(resident.take(batch["index"].to(device, non_blocking=True)))
        return decode_pixels(batch["image"].to(device, non_blocking=True))

    def _load_prior(self, batch: Mapping[str, Tensor], device: torch.device) -> PriorMaps | None:
        prior = self.dataset.prior
        if prior is None:
            return None
        if self._common_maps is None or self._common_maps.device != device:
            self._common_maps = torch.from_numpy(prior.maps).to(device)
        return decode_prior(batch, self._common_maps, device)

    def _build_multi_crop(self, images: Tensor, prior: PriorMaps | None, step: int, part: slice) -> MultiCropBatch:
        whole = self.settings.batch
        indices = compute_step_indices(self.settings.seed, step, len(self.dataset), whole)
        aspect = self.dataset.aspect[indices]
        globals_, locals_ = self.views(images, aspect, step, part, whole)
        masked, positions = None, None
        host_masks = self.learner.sample_masks(step, part, whole, globals_.geometry.grid)
        if host_masks is not None:
            positions = send_to_device(host_masks.flatten().nonzero()[:, 0], images.device)
            masked = torch.zeros(host_masks.shape, dtype=torch.bool, device=images.device)
            masked.view(-1).index_fill_(0, positions, True)
        kept = self.learner.sample_kept_patches(step, part, whole, globals_.geometry.grid)
        kept = None if kept is None else send_to_device(kept, images.device)
        return MultiCropBatch(
            globals_, locals_, prior, masked, step, part, whole,
            detail=step % self.settings.window == 0, kept=kept, masked_positions=positions,
        )  # fmt: skip
