"""SAR (arXiv 2206.04636) beside a supervised loss: low spatial entropy of the free heads' attention.

As in the authors' code (helia95/SAR): CLS logits of the last block, weight linear from 0, then a
cosine to 0; there per epoch, here per step. Excluding the heads that follow a structure is our choice.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from medprior.finetune.cls_row_capture import ClsRowCapture
from medprior.finetune.settings import FinetuneSettings
from medprior.networks.encoder import Encoder
from medprior.pretrain.objectives.head_assignment import select_heads
from medprior.pretrain.objectives.sar import list_free_heads, sar_loss
from medprior.pretrain.schedules import warmup_cosine_schedule


class SupervisedSar:
    """Spatial entropy loss of the CLS row that the backbone computes in training.

    Args:
        vit: the backbone; it captures the row from now on whenever it is in training mode.
        settings: `sar_weight`, `sar_warmup`, `sar_connectivity`.
        assigned: heads that follow a structure.
    """

    def __init__(self, vit: Encoder, settings: FinetuneSettings, assigned: Iterable[int]) -> None:
        self.settings = settings
        self.free_heads = list_free_heads(vit.settings.heads, assigned)
        self.row = ClsRowCapture(vit)

    def weight(self, progress: float) -> float:
        """Factor of the loss at `progress` in [0, 1] of the run."""
        return warmup_cosine_schedule(self.settings.sar_weight, 0.0, self.settings.sar_warmup, progress)

    def loss(self, progress: float) -> Tensor:
        """The weighted mean spatial entropy of the latest training pass; each pass is used once."""
        logits, grid = self.row.take()
        entropy, _ = sar_loss(select_heads(logits, self.free_heads), grid, self.settings.sar_connectivity)
        return self.weight(progress) * entropy
