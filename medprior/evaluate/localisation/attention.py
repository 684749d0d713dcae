"""Attention maps of a backbone, resampled to the unit squares of a cohort's images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.geometry import PLAIN_VIEW, AttentionViews
from medprior.networks import Backbone
from medprior.networks.cohort_attention import compute_cohort_attention
from medprior.networks.device import select_device


class AttentionSource:
    """The heads of a backbone as a source of maps (see `scoring.MapSource`).

    Args:
        backbone: whose heads are read. batch: most views at once. device: where to compute.
        plan: views of an image over which attention is averaged.
    """

    has_selectable_maps = True

    def __init__(
        self, backbone: Backbone, batch: int = 64, device: str = "auto", plan: AttentionViews = PLAIN_VIEW
    ) -> None:
        self.plan = plan
        self.device = select_device(device)
        self.network = backbone.network.to(self.device).eval()
        self.assigned = dict(backbone.heads)
        self.count = backbone.network.settings.heads
        self.view, self.batch = backbone.size, batch

    def batches(self, cohort: Cohort, size: int) -> Iterator[NDArray[np.float32]]:
        """Attention per head, float32 [b, H, size, size], bilinear on unit squares."""
        return compute_cohort_attention(self.network, cohort, self.view, size, self.batch, self.device, self.plan)
