"""Interface of the Vision Transformers: CLS and patch tokens of images, attention on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from medprior.errors import ConfigError
from medprior.networks.vit_settings import ViTSettings

Grid = tuple[int, int]
AttentionCallback = Callable[[Tensor], None]
"""Receives a block's attention [B, H, T, T], attached to the graph and used for its output."""


@dataclass(frozen=True)
class Tokens:
    """Output tokens of a batch, after the final norm.

    Shape:
        cls: [B, D]. patches: [B, N, D] in raster order. grid: (rows, columns), N = rows * columns.
        cls_logits: float32 [B, H, N] or None; scaled scores of the CLS query on the patch keys in the last block,
            before softmax, attached to the graph.
        cls_mass: float32 [B, H] or None; CLS attention mass on the patches, not on CLS itself.
    """

    cls: Tensor
    patches: Tensor
    grid: Grid
    cls_logits: Tensor | None = None
    cls_mass: Tensor | None = None


class Encoder(nn.Module, ABC):
    """A Vision Transformer for one-channel images; tokens: CLS, registers, patches.

    Subclasses say how images become tokens and how one block runs; the rest is the same for all. `blocks` are its
    transformer blocks and `norm` the norm after the last of them. `watch` is set inside `watch_attention`.
    """

    settings: ViTSettings
    mean: Tensor
    std: Tensor
    blocks: nn.ModuleList
    norm: nn.Module
    watch: AttentionCallback | None = None

    @property
    def prefix(self) -> int:
        """Number of tokens before the patches: CLS and registers."""
        return 1 + self.settings.registers

    @abstractmethod
    def embed_images(self, images: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Grid]:
        """Tokens [B, T, D] of images [B, 1, S, S] in [0, 1], before any block, and the grid.

        Args:
            images: sides are multiples of the patch.
            mask: bool [B, N]; these patches are replaced by the mask token before positions are added, None for none.
        """

    @abstractmethod
    def context(self, grid: Grid) -> Any:
        """Inputs of the blocks beside the tokens, computed once per pass."""

    @abstractmethod
    def step(
        self, index: int, x: Tensor, context: Any, row: bool = False, watch: AttentionCallback | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Run block `index` on tokens x [B, T, D].

        Args:
            index: 0 is the first block.
            x: tokens.
            context: of `self.context`.
            row: also return the CLS query's scaled scores on all keys, float32 [B, H, T].
            watch: receives the whole attention matrix; the block then does not use fused attention.
        """

    def forward(
        self, images: Tensor, capture: bool = False, mask: Tensor | None = None, kept: Tensor | None = None
    ) -> Tokens:
        """Encode images.

        Args:
            images: [B, 1, S, S] in [0, 1].
            capture: also compute the last block's CLS row.
            mask: bool [B, N], masked patches; needs `mask_token` in the settings.
            kept: int64 [B, n], patches that are encoded, without `capture`; the others are dropped before the first
                block, and their output is 0. For our network without LIFE.
        """
        if kept is not None:
            return self._forward_kept(images, kept)
        return self.forward_intermediates(images, (), capture, mask)[0]

    def _forward_kept(self, images: Tensor, kept: Tensor) -> Tokens:
        x, grid = self.embed_images(images)
        prefix, patches = x[:, : self.prefix], x[:, self.prefix :]
        at = kept[..., None].expand(-1, -1, x.shape[-1])
        x = torch.cat([prefix, patches.gather(1, at)], dim=1)
        context = self.context(grid)
        for index in range(len(self.blocks)):
            x, _ = self.step(index, x, context)
        x = self.norm(x)
        return Tokens(x[:, 0], torch.zeros_like(patches, dtype=x.dtype).scatter(1, at, x[:, self.prefix :]), grid)

    def forward_intermediates(
        self, images: Tensor, depths: Collection[int], capture: bool = False, mask: Tensor | None = None
    ) -> tuple[Tokens, list[Tensor]]:
        """Encode images, and keep the patch tokens after some blocks.

        Args:
            images: [B, 1, S, S] in [0, 1].
            depths: numbers of blocks; 1 is after the first block.
            capture: see `forward`.
            mask: see `forward`.

        Returns:
            The tokens, and one map [B, D, rows, columns] per depth after the final norm.
        """
        x, grid = self.embed_images(images, mask)
        context = self.context(grid)
        row, maps = None, []
        for index in range(len(self.blocks)):
            last = capture and index == len(self.blocks) - 1
            x, row = self.step(index, x, context, last, self.watch)
            if index + 1 in depths:
                patches = self.norm(x)[:, self.prefix :]
                maps.append(rearrange(patches, "b (y x) d -> b d y x", y=grid[0]))
        x = self.norm(x)
        patches = x[:, self.prefix :]
        if row is None:
            return Tokens(x[:, 0], patches, grid), maps
        logits = row[..., self.prefix :]
        mass = (logits.logsumexp(-1) - row.logsumexp(-1)).exp()
        return Tokens(x[:, 0], patches, grid, logits, mass), maps

    def patch_grid(self, images: Tensor) -> Grid:
        """The grid of patches of images [..., rows, columns].

        Raises:
            ConfigError: a side is no multiple of the patch.
        """
        rows, columns = images.shape[-2:]
        patch = self.settings.patch
        if rows % patch or columns % patch:
            raise ConfigError(
                "image size is no multiple of the patch",
                expected=f"multiples of {patch}", found=f"{rows} x {columns}",
                fix="change the view size or network.patch",
            )  # fmt: skip
        return rows // patch, columns // patch


@contextmanager
def watch_attention(encoder: Encoder, watch: AttentionCallback) -> Iterator[None]:
    """Show `watch` the attention of every block of every pass inside this context."""
    encoder.watch = watch
    try:
        yield
    finally:
        encoder.watch = None


def check_mask_token(mask: Tensor | None, token: nn.Parameter | None) -> None:
    """ConfigError where patches are masked and the network has no mask token."""
    if mask is not None and token is None:
        raise ConfigError(
            "patches are masked and the network has no mask token",
            where="network.mask_token", expected="true", found="false",
            fix="set network.mask_token=true",
        )  # fmt: skip
