"""Classification on a Vision Transformer: CLS, CLS and mean patch, or attention-pooled tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from medprior.networks.encoder import Encoder, Tokens

HeadKind = Literal["cls", "cls_mean", "pooled"]


def pool_by_attention(tokens: Tokens, heads: Tensor) -> Tensor:
    """Mean of the patch tokens, weighted by each head's CLS attention (our choice).

    A head that was trained on an organ's prior gives that organ's token.

    Args:
        tokens: of a forward pass with `capture`.
        heads: int64 [P], heads of the last block.

    Returns:
        [B, P, D], attached to the graph.
    """
    if tokens.cls_logits is None:
        raise ValueError("tokens without cls_logits: call the network with capture=True")
    weights = tokens.cls_logits[:, heads].softmax(-1).to(tokens.patches.dtype)
    return weights @ tokens.patches


class Classifier(nn.Module):
    """A Vision Transformer with a linear layer over one or more pooled tokens.

    Args:
        vit: the backbone.
        labels: number of labels C.
        kind: `cls` token; `cls_mean`: with the mean patch; `pooled`: with one token per head.
        heads: attention heads used by `pooled`; by default all.
        dropout: on the normalised tokens.
    """

    heads: Tensor

    def __init__(
        self, vit: Encoder, labels: int, kind: HeadKind = "cls", heads: tuple[int, ...] = (), dropout: float = 0.0
    ) -> None:
        super().__init__()
        width = vit.settings.width
        self.vit = vit
        self.kind = kind
        used_heads = heads or tuple(range(vit.settings.heads))
        self.register_buffer("heads", torch.tensor(used_heads), persistent=False)
        count = {"cls": 1, "cls_mean": 2, "pooled": 1 + len(used_heads)}[kind]
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(count * width, labels)
        nn.init.trunc_normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def features(self, images: Tensor) -> Tensor:
        """Pooled tokens [B, P, D] of images [B, 1, S, S], CLS first."""
        return self.pool(self.vit(images, capture=self.kind == "pooled"))

    def pool(self, tokens: Tokens) -> Tensor:
        """Pooled tokens [B, P, D], CLS first; the `pooled` kind needs `tokens.cls_logits`."""
        first = tokens.cls[:, None]
        if self.kind == "cls":
            return first
        if self.kind == "cls_mean":
            return torch.cat([first, tokens.patches.mean(dim=1, keepdim=True)], dim=1)
        return torch.cat([first, pool_by_attention(tokens, self.heads)], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of images [B, 1, S, S] in [0, 1]."""
        return self.classify(self.features(images))

    def classify(self, features: Tensor) -> Tensor:
        """Logits [B, C] of pooled tokens [B, P, D]."""
        logits: Tensor = self.linear(self.dropout(self.norm(features)).flatten(1))
        return logits

    def forward_with_tokens(self, images: Tensor) -> tuple[Tensor, Tokens]:
        """Logits and the backbone's tokens, CLS row included, from one pass."""
        tokens = self.vit(images, capture=True)
        return self.classify(self.pool(tokens)), tokens
