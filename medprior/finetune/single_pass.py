"""Logits, tokens and attention of a network from one pass of its backbone, for a batch of views."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from medprior.finetune.assembly import Network
from medprior.networks.convolutional import CnnEncoder, ConvNet
from medprior.networks.decoders import Segmenter, collect_block_maps
from medprior.networks.encoder import AttentionCallback, Encoder, Tokens


@dataclass(frozen=True)
class NetworkOutput:
    """What one pass gives: logits [B, ...] of the network, and the tokens of its backbone."""

    logits: Tensor
    tokens: Tokens

    def __getitem__(self, index: int) -> NetworkOutput:
        """One image's part, as a batch of one."""
        part, all_ = slice(index, index + 1), self.tokens
        assert all_.cls_logits is not None
        assert all_.cls_mass is not None
        tokens = Tokens(
            all_.cls[part],
            all_.patches[part],
            all_.grid,
            all_.cls_logits[part],
            all_.cls_mass[part],
        )
        return NetworkOutput(self.logits[part], tokens)


@torch.inference_mode()
def run_single_pass(network: Network, images: Tensor) -> NetworkOutput:
    """Run a network in evaluation mode on images [B, 1, S, S] in [0, 1]."""
    if isinstance(network, ConvNet):
        return NetworkOutput(*network.forward_with_tokens(images))
    if isinstance(network, Segmenter):
        passing = RecordingEncoder(network.vit)
        maps = collect_block_maps(cast(Encoder, passing), images, network.decoder.depths)
        return NetworkOutput(network.decoder(maps, images), passing.tokens(images))
    caught: list[Tokens] = []
    asking = network.vit.register_forward_pre_hook(request_cls_row, with_kwargs=True)
    keeping = network.vit.register_forward_hook(lambda _, __, tokens: caught.append(tokens))
    try:
        logits = network(images)
    finally:
        asking.remove()
        keeping.remove()
    return NetworkOutput(logits, caught[-1])


def request_cls_row(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Ask the backbone for its last block's CLS row, whatever the head asked."""
    return args[:1], given | {"capture": True}


class RecordingEncoder:
    """A backbone, for `tapped_maps`, that keeps what its last block gives."""

    def __init__(self, vit: Encoder) -> None:
        self.vit = vit
        self.x: Tensor | None = None
        self.row: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.vit, name)

    def step(
        self, index: int, x: Tensor, context: Any, row: bool = False, watch: AttentionCallback | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Run one block."""
        last = index == len(self.vit.blocks) - 1
        x, found = self.vit.step(index, x, context, row or last, watch)
        if last:
            self.x, self.row = x, found
        return x, found

    def tokens(self, images: Tensor) -> Tokens:
        """What the backbone itself would have answered with `capture`."""
        assert self.x is not None
        assert self.row is not None
        x, prefix = self.vit.norm(self.x), self.vit.prefix
        logits = self.row[..., prefix:]
        mass = (logits.logsumexp(-1) - self.row.logsumexp(-1)).exp()
        return Tokens(x[:, 0], x[:, prefix:], self.vit.patch_grid(images), logits, mass)


class CachedBackbone:
    """Stands for a network's backbone: the tokens of the images just seen cost no second pass."""

    def __init__(self, vit: Encoder | CnnEncoder, last: threading.local) -> None:
        self._vit, self._last = vit, last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vit, name)

    def __call__(self, images: Tensor, capture: bool = False, **given: Any) -> Tokens:
        """Tokens of images [1, 1, S, S]; they may hold more than was asked for."""
        if not given and getattr(self._last, "images", None) is images:
            seen: NetworkOutput = self._last.seen
            return seen.tokens
        tokens: Tokens = self._vit(images, capture=capture, **given)
        return tokens


class SinglePassNetwork:
    """Stands for a network: what it is asked of the images just seen takes no second pass."""

    def __init__(self, network: Network) -> None:
        self._network, self._last = network, threading.local()
        self.vit = CachedBackbone(network.vit, self._last)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits of images [B, 1, S, S]."""
        seen = run_single_pass(self._network, images)
        self._last.images, self._last.seen = images, seen
        return seen.logits
