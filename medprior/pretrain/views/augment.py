"""The views of one step: sampled once for all processes, pixels cropped on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medprior.geometry import Views
from medprior.networks.device import send_to_device
from medprior.networks.views import choose_oversampling, crop_views
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.batches import CROP_STREAM
from medprior.pretrain.views.crops import sample_crops
from medprior.pretrain.views.intensity import apply_exposures, sample_exposures


@dataclass(frozen=True)
class ViewBatch:
    """Views of B images: R rounds of B, round after round.

    Shape:
        pixels: [R * B, 1, S, S] in [0, 1]. index: int64 [R * B] into the batch's images.
        theta: float32 [R * B, 2, 3], `geometry.affine()` on the device, None where it was not sent.
        area: float32 [R * B], share of the unit square that each view spans, None with `theta`.
    """

    pixels: Tensor
    geometry: Views
    index: Tensor
    theta: Tensor | None = None
    area: Tensor | None = None


class ViewMaker:
    """Crops and augments the global and local views of a step."""

    def __init__(self, settings: PretrainSettings) -> None:
        self.settings = settings

    def __call__(
        self, images: Tensor, aspect: NDArray[np.float64], step: int, part: slice, whole: int
    ) -> tuple[ViewBatch, ViewBatch | None]:
        """Global and local views.

        Args:
            images: [B, 1, S, S] unit squares of this process's share of the batch.
            aspect: [whole] width / height of all images of the global batch.
            step: index of the step; with the seed it fixes every random number.
            part: the share of the global batch that `images` is.
            whole: size of the global batch.
        """
        crops = self.settings.crops
        rng = np.random.default_rng([self.settings.seed, CROP_STREAM, step])
        patch = self.settings.network.patch
        rounds = [(2, crops.globals_scale, crops.global_size)]
        if crops.locals:
            rounds.append((crops.locals, crops.locals_scale, crops.local_size))
        lattices: list[int] = []
        sampled: list[tuple[Views, NDArray[np.float64]]] = []
        for per_image, scale, size in rounds:
            grid = (size // patch, size // patch)
            flip_first = crops.flip_reference or bool(sampled)  # the reference is the first of the global views
            views = sample_crops(rng, aspect, per_image, scale, grid, flip_p=crops.flip_p, flip_first=flip_first)
            exposures = sample_exposures(rng, per_image * whole, self.settings.intensity)
            lattices.append(choose_oversampling(views, images.shape[-1], size))
            rows = np.arange(per_image * whole).reshape(per_image, whole)[:, part].ravel()
            sampled.append((views.take(rows), exposures[rows]))
        batches = []
        for (_, _, size), lattice, (views, exposures), sent in zip(
            rounds, lattices, sampled, send_parameters(sampled, images.device), strict=True
        ):
            index = torch.arange(len(images), device=images.device).repeat(len(views) // len(images))
            theta = sent[:, :6].reshape(-1, 2, 3)
            pixels = crop_views(images, views, size, index, oversampling=lattice, theta=theta)
            pixels = apply_exposures(pixels, exposures, sent[:, 6:10])
            batches.append(ViewBatch(pixels, views, index, theta, sent[:, 10]))
        return batches[0], batches[1] if len(batches) > 1 else None


def send_parameters(sampled: Sequence[tuple[Views, NDArray[np.float64]]], device: torch.device) -> list[Tensor]:
    """Affine maps, exposures and areas of all rounds of views on the device, in one transfer.

    Args:
        sampled: views, and their exposures [V, 4], of every round.
        device: where to.

    Returns:
        float32 [V, 11] of every round: 6 numbers of the affine map, 4 of the exposure, the area.
    """
    tables = [
        np.column_stack([views.affine().reshape(len(views), 6), exposures, views.box[:, 2] * views.box[:, 3]])
        for views, exposures in sampled
    ]
    sent = send_to_device(np.concatenate(tables).astype(np.float32), device)
    return list(torch.split(sent, [len(table) for table in tables]))
