"""The views of one step: sampled once for all processes, pixels cropped on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medprior.geometry import Views
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
    """

    pixels: Tensor
    geometry: Views
    index: Tensor


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
        batches = []
        for per_image, scale, size in rounds:
            grid = (size // patch, size // patch)
            flip_first = crops.flip_reference or bool(batches)  # the reference is the first of the global views
            views = sample_crops(rng, aspect, per_image, scale, grid, flip_p=crops.flip_p, flip_first=flip_first)
            exposures = sample_exposures(rng, per_image * whole, self.settings.intensity)
            lattice = choose_oversampling(views, images.shape[-1], size)
            rows = np.arange(per_image * whole).reshape(per_image, whole)[:, part].ravel()
            views, exposures = views.take(rows), exposures[rows]
            index = torch.arange(len(images), device=images.device).repeat(per_image)
            pixels = crop_views(images, views, size, index, oversampling=lattice)
            pixels = apply_exposures(pixels, exposures)
            batches.append(ViewBatch(pixels, views, index))
        return batches[0], batches[1] if len(batches) > 1 else None
