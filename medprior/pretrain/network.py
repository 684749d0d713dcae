"""A Vision Transformer with the heads that objectives read: student and teacher are one each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medprior.networks.encoder import Tokens
from medprior.networks.factory import build_encoder
from medprior.pretrain.objectives.projection_head import ProjectionHead
from medprior.pretrain.settings import PretrainSettings


class PretrainNetwork(nn.Module):
    """A backbone, DINO's projection head, and what further objectives bring.

    Attributes:
        head: None where no objective reads it.
        parts: networks of objectives, by their names.
    """

    def __init__(self, settings: PretrainSettings) -> None:
        super().__init__()
        dino, ibot = settings.dino, settings.ibot
        self.backbone = build_encoder(settings.network)
        shared = ibot.weight > 0 and not ibot.separate_head
        self.head = build_projection_head(settings) if dino.weight > 0 or shared else None
        self.scores_cls = dino.weight > 0
        self.parts = nn.ModuleDict()

    def forward(
        self, pixels: list[Tensor], rows: int, hidden: Tensor | None = None
    ) -> tuple[list[Tokens], Tensor | None]:
        """Tokens of each stack of views, and the head's scores of all of them, in order.

        Args:
            pixels: stacks [V, 1, S, S] in [0, 1], the global views first.
            rows: of how many stacks the last block's CLS row is wanted.
            hidden: bool [V, N], masked patches of the first stack.
        """
        tokens = [self.backbone(x, i < rows, hidden if i == 0 else None) for i, x in enumerate(pixels)]
        if self.head is None or not self.scores_cls:
            return tokens, None
        scores: Tensor = self.head(torch.cat([t.cls for t in tokens]))
        return tokens, scores


def build_projection_head(settings: PretrainSettings) -> ProjectionHead:
    """A head of DINO's shape."""
    dino = settings.dino
    assert dino.prototypes is not None
    return ProjectionHead(
        settings.network.width, dino.hidden, dino.bottleneck, dino.prototypes,
        batch_norm=bool(dino.batch_norm),
    )  # fmt: skip
