"""Batches as they are stored, from the cohort to the device: uint16 pixels and uint8 maps."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from multiprocessing.util import Finalize
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medprior.cohort.squares import SquareImages
from medprior.networks.device import send_to_device
from medprior.pretrain.distributed import world_size
from medprior.pretrain.objectives.objective import PriorMaps
from medprior.pretrain.settings import LoadingSettings, PretrainSettings
from medprior.pretrain.views.dataset import SquaresDataset, StepSampler

UINT16_MAX, UINT8_MAX = 65535, 255
MAX_WORKERS = 8
RESIDENT_SHARE = 0.5
READ_AHEAD_IMAGES = 256


class StoredBatch(TypedDict):
    """B images in a quarter to a half of the bytes that the step needs.

    Shape:
        index: int64 [B], rows of the dataset. image: uint16 [B, 1, S, S], 65535 is 1, or float32 in [0, 1] of an older
        cache; absent where the device has all images. trust: float32 [B] in [0, 1], with a prior only. maps: uint8
        [B, K, M, M], 255 is 1, where images have maps of their own; has_maps: bool [B], which of them have.
    """

    index: Tensor
    image: NotRequired[Tensor]
    trust: NotRequired[Tensor]
    maps: NotRequired[Tensor]
    has_maps: NotRequired[Tensor]


class StoredBatches(Dataset[StoredBatch]):
    """Batches of a `SquaresDataset`, each read in one go.

    Args:
        dataset: the images, and the prior if any.
    """

    def __init__(self, dataset: SquaresDataset) -> None:
        self.dataset = dataset
        self.resident: ResidentImages | None = None
        prior = dataset.prior
        self._map_rows = None if prior is None else prior.find_rows(dataset.ids)
        self._trust = None if self._map_rows is None or prior is None else prior.compute_trust(self._map_rows)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: Sequence[int]) -> StoredBatch:
        index = np.asarray(indices, dtype=np.intp)
        batch: StoredBatch = {"index": torch.from_numpy(index)}
        if self.resident is None:
            batch["image"] = torch.from_numpy(self.dataset.images.read_stored(index))[:, None]
        prior = self.dataset.prior
        if prior is None or self._map_rows is None or self._trust is None:
            return batch
        batch["trust"] = torch.from_numpy(self._trust[index])
        if prior.per_image is not None:
            rows = self._map_rows[index]
            batch["maps"] = torch.from_numpy(prior.read_stored_maps(np.maximum(rows, 0)))
            batch["has_maps"] = torch.from_numpy(rows >= 0)
        return batch


class ResidentImages:
    """All images of a dataset in the memory of a device, as they are stored.

    Args:
        images: the images.
        device: where they go.
    """

    def __init__(self, images: SquareImages, device: torch.device) -> None:
        self._is_float = images.stored_dtype == np.float32
        dtype = torch.float32 if self._is_float else torch.int16  # of the same bytes: devices index few types
        self._pixels = torch.empty(images.shape, dtype=dtype, device=device)
        for start in range(0, len(images), READ_AHEAD_IMAGES):
            part = np.arange(start, min(start + READ_AHEAD_IMAGES, len(images)))
            self._pixels[start : start + len(part)] = torch.from_numpy(images.read_stored(part)).view(dtype)

    def take(self, index: Tensor) -> Tensor:
        """The images of `index` int64 [B]: [B, 1, S, S], uint16 or float32."""
        pixels = self._pixels[index][:, None]
        return pixels if self._is_float else pixels.view(torch.uint16)


def decode_pixels(stored: Tensor) -> Tensor:
    """float32 in [0, 1] of uint16, 65535 is 1; float32 is unchanged."""
    return stored if stored.is_floating_point() else stored.float() / UINT16_MAX


def decode_prior(batch: Mapping[str, Tensor], common: Tensor, device: torch.device) -> PriorMaps:
    """Maps and trust of a batch on the device.

    Args:
        batch: a `StoredBatch` with trust.
        common: float32 [K, M, M] in [0, 1], on the device: of images without maps of their own.
        device: where the batch goes.
    """
    trust = send_to_device(batch["trust"], device)
    maps = common.expand(len(trust), *common.shape)
    if "maps" in batch:
        own = batch["maps"].to(device, non_blocking=True).float() / UINT8_MAX
        has_maps = send_to_device(batch["has_maps"], device)
        maps = torch.where(has_maps[:, None, None, None], own, maps)
    return PriorMaps(maps, trust)


def is_worth_residence(images: SquareImages, loading: LoadingSettings, device: torch.device) -> bool:
    """Whether all images go to the device's memory at once."""
    if loading.resident is not None or device.type != "cuda":
        return bool(loading.resident)
    free, _ = torch.cuda.mem_get_info(device)
    return bool(np.prod(images.shape) * images.stored_dtype.itemsize <= RESIDENT_SHARE * free)


class StepLoader(DataLoader[StoredBatch]):
    """A loader whose processes leave SIGINT and SIGTERM, which a whole group receives, to the process that saves."""

    def __iter__(self) -> Any:
        if self.num_workers:
            Finalize(None, kill_daemons, exitpriority=0)
        # Processes inherit the mask: they block both signals from their first moment.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill_daemons() -> None:
    """End processes that are left at exit: multiprocessing sends SIGTERM, which they block, and waits for ever."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler reports each killed process as a failure
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def build_step_loader(
    dataset: SquaresDataset, settings: PretrainSettings, device: torch.device | None = None
) -> DataLoader[StoredBatch]:
    """A loader of `StoredBatch`es that depend on seed and step alone, whatever reads them.

    Args:
        dataset: images and prior.
        settings: resolved settings.
        device: where the batches will go; by default the CPU.
    """
    device = device or torch.device("cpu")
    batches, loading = StoredBatches(dataset), settings.loading
    if is_worth_residence(dataset.images, loading, device):
        batches.resident = ResidentImages(dataset.images, device)
    workers = loading.workers
    if workers is None:
        cores = len(os.sched_getaffinity(0)) // world_size()
        has_maps = dataset.prior is not None and dataset.prior.per_image is not None
        reads = batches.resident is None or has_maps
        workers = min(MAX_WORKERS, max(cores - 1, 0)) if device.type == "cuda" and reads else 0
    return StepLoader(
        batches, batch_sampler=StepSampler(settings, len(dataset)), collate_fn=keep_batch, num_workers=workers,
        pin_memory=device.type == "cuda",
    )  # fmt: skip


def keep_batch(batch: Any) -> Any:
    """The batch itself: it is whole already."""
    return batch
