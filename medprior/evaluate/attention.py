"""Attention maps of a backbone, laid over the unit squares of a cohort's images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.geometry import Views, whole
from medprior.networks import Backbone, attention_maps, cut, lay_back
from medprior.networks.device import device_of


def whole_views(
    cohort: Cohort, size: int, patch: int, batch: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, Views]]:
    """Every image seen whole at its true aspect: tensors [b, 1, size, size] and their geometry.

    The squares are read at 1.5 times the view's side, so that the view itself does not blur them.
    """
    squares, aspect = cohort.squares(size * 3 // 2), cohort.aspect
    grid = (size // patch, size // patch)
    for start in range(0, len(cohort), batch):
        part = slice(start, start + batch)
        views = whole(aspect[part], grid)
        source = torch.from_numpy(np.array(squares[part]))[:, None].to(device)
        yield cut(source, views, size, torch.arange(len(views), device=device)), views


class AttentionSource:
    """The heads of a backbone as a source of maps (see `localisation.MapSource`)."""

    searchable = True

    def __init__(self, backbone: Backbone, batch: int = 64, device: str = "auto") -> None:
        self.device = device_of(device)
        self.network = backbone.network.to(self.device).eval()
        self.assigned = dict(backbone.heads)
        self.count = backbone.network.settings.heads
        self.view, self.batch = backbone.size, batch

    def batches(self, cohort: Cohort, size: int) -> Iterator[NDArray[np.float32]]:
        """Attention per head, float32 [b, H, size, size], bilinear on unit squares."""
        patch = self.network.settings.patch
        for images, views in whole_views(cohort, self.view, patch, self.batch, self.device):
            maps = lay_back(attention_maps(self.network, images), views, size)
            yield maps.cpu().numpy().astype(np.float32, copy=False)
