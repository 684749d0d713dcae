"""KoLeo: spreads features by pushing each away from its nearest neighbour.

Source: DINOv2 (arXiv 2304.07193) and its code, `dinov2/loss/koleo_loss.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from medprior.pretrain.distributed import all_gather_rows
from medprior.pretrain.objectives.objective import Logs, MultiCropBatch, NetworkOutputs, Objective
from medprior.pretrain.settings import PretrainSettings


def koleo_loss(features: Tensor) -> Tensor:
    """Kozachenko-Leonenko entropy estimate (Sablayrolles et al. 2019; DINOv2).

    Args:
        features: CLS features [B, D] of ONE global view, so that no pair shares an image; B >= 2.

    Returns:
        Scalar -mean log(distance to the nearest neighbour + 1e-8) of the L2-normalised features of all processes.
    """
    x = F.normalize(all_gather_rows(features.float()), dim=-1, eps=1e-8)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):  # bfloat16 cannot tell neighbours apart
        similarity = x @ x.T
        similarity.fill_diagonal_(-2)
        nearest = similarity.argmax(1)
    return -((x - x[nearest]).square().sum(-1) + 1e-16).sqrt().add(1e-8).log().mean()


class KoleoObjective(Objective):
    """KoLeo on the student's CLS features before the head, one global view at a time."""

    name = "koleo"

    def __init__(self, settings: PretrainSettings) -> None:
        super().__init__()
        self.settings = settings.dino

    @classmethod
    def create(cls, settings: PretrainSettings, heads: Sequence[int]) -> Self | None:
        """None where `dino.koleo_weight` is 0."""
        return cls(settings) if settings.dino.koleo_weight else None

    def weight(self, progress: float) -> float:
        """Constant."""
        return self.settings.koleo_weight

    def loss(
        self, multi_crop: MultiCropBatch, targets: None, count: Tensor | None, outputs: NetworkOutputs
    ) -> tuple[Tensor, Logs]:
        """Mean over the two global views; neighbours are sought in the batch of all processes.

        DINOv2 sums over the views: its published weight 0.1 is `dino.koleo_weight=0.2` here.
        """
        halves = outputs.views[0].cls.reshape(2, multi_crop.size, -1)
        return (koleo_loss(halves[0]) + koleo_loss(halves[1])) / 2, {}
