"""A Vision Transformer with the heads of the objectives: the student, or the teacher."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medprior.networks.encoder import Tokens
from medprior.networks.factory import build_encoder
from medprior.pretrain.objectives.projection_head import build_projection_head
from medprior.pretrain.settings import PretrainSettings


class PretrainNetwork(nn.Module):
    """A backbone, the shared projection head, and what further objectives bring.

    Attributes:
        head: None where no objective reads it.
        parts: networks that objectives add, by name.
    """

    def __init__(self, settings: PretrainSettings) -> None:
        super().__init__()
        self.backbone = build_encoder(settings.network)
        self.head = build_projection_head(settings) if settings.needs.head else None
        self.scores_cls = settings.needs.scores
        self.parts = nn.ModuleDict()

    def forward(
        self, pixels: list[Tensor], rows: int, masked: Tensor | None = None, kept: Tensor | None = None
    ) -> tuple[list[Tokens], Tensor | None]:
        """Tokens of each stack of views, and the head's scores of all of them, in order.

        Args:
            pixels: stacks [V, 1, S, S] in [0, 1], the global views first.
            rows: number of stacks for which the last block's CLS row is computed.
            masked: bool [V, N], masked patches of the first stack.
            kept: int64 [V / 2, n], patches that the second half of the first stack is encoded from; not beside `rows`
                or `masked`.
        """
        if kept is None:
            tokens = [self.backbone(x, i < rows, masked if i == 0 else None) for i, x in enumerate(pixels)]
        else:
            assert rows == 0, "patches are dropped whose attention an objective reads"
            assert masked is None, "patches are dropped that an objective masks"
            tokens = [self._encode_kept(pixels[0], kept), *(self.backbone(x) for x in pixels[1:])]
        if self.head is None or not self.scores_cls:
            return tokens, None
        scores: Tensor = self.head(torch.cat([t.cls for t in tokens]))
        return tokens, scores

    def _encode_kept(self, pixels: Tensor, kept: Tensor) -> Tokens:
        """Tokens of a stack of which the second half is encoded from its `kept` patches alone."""
        whole, part = pixels.chunk(2)
        first, second = self.backbone(whole), self.backbone(part, kept=kept)
        return Tokens(torch.cat([first.cls, second.cls]), torch.cat([first.patches, second.patches]), first.grid)
