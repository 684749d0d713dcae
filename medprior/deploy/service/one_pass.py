"""Logits and attention of a network from one pass of its backbone, for a batch of views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from medprior.networks.decoders import Segmenter, tapped_maps
from medprior.networks.encoder import Encoder, Tokens
from medprior.networks.heads import Classifier


@dataclass(frozen=True)
class Seen:
    """What one pass gives.

    Shape:
        logits: [B, C] of a classifier, [B, K, S, S] of a segmenter.
        cls_logits: float32 [B, H, N], as in `Tokens`. grid: (rows, columns).
    """

    logits: Tensor
    cls_logits: Tensor
    grid: tuple[int, int]

    def __getitem__(self, index: int) -> Seen:
        """One image's part, as a batch of one."""
        part = slice(index, index + 1)
        return Seen(self.logits[part], self.cls_logits[part], self.grid)

    def tokens(self) -> Tokens:
        """For `attention_maps`, which reads the scores and the grid only."""
        return Tokens(self.cls_logits, self.cls_logits, self.grid, self.cls_logits)


@torch.inference_mode()
def one_pass(network: Classifier | Segmenter, images: Tensor) -> Seen:
    """Run a network in evaluation mode on images [B, 1, S, S] in [0, 1]."""
    if isinstance(network, Segmenter):
        watched = WithLastRow(network.vit)
        maps = tapped_maps(cast(Encoder, watched), images, network.decoder.depths)
        assert watched.row is not None
        row = watched.row[..., network.vit.prefix :]
        return Seen(network.decoder(maps, images), row, network.vit.checked_grid(images))
    caught: list[Tokens] = []
    asking = network.vit.register_forward_pre_hook(capturing, with_kwargs=True)
    keeping = network.vit.register_forward_hook(lambda _, __, tokens: caught.append(tokens))
    try:
        logits = network(images)
    finally:
        asking.remove()
        keeping.remove()
    tokens = caught[-1]
    assert tokens.cls_logits is not None
    return Seen(logits, tokens.cls_logits, tokens.grid)


def capturing(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Ask the backbone for its last block's CLS row, whatever the head asked."""
    return args[:1], given | {"capture": True}


class WithLastRow:
    """A backbone, for `tapped_maps`, that keeps its last block's CLS row: `row` [B, H, T]."""

    def __init__(self, vit: Encoder) -> None:
        self.vit = vit
        self.row: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.vit, name)

    def step(self, index: int, x: Tensor, context: Any) -> tuple[Tensor, Tensor | None]:
        """Run one block."""
        x, row = self.vit.step(index, x, context, index == len(self.vit.blocks) - 1)
        self.row = self.row if row is None else row
        return x, row
