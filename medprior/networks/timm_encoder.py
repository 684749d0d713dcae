"""Adapter of timm's Vision Transformers to `Encoder`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medprior.networks.attention_capture import AttentionCaptureMode
from medprior.networks.encoder import AttentionCallback, Encoder, Grid, check_mask_token
from medprior.networks.timm_body import build_timm_body
from medprior.networks.vit_settings import ViTSettings


class TimmEncoder(Encoder):
    """Wraps timm's VisionTransformer and Eva: one channel, any size, attention on demand.

    Blocks and last norm are held under the names our own network has, so that layer-wise learning rates work alike;
    `stem` is the rest. Fused attention runs everywhere; the CLS row is computed beside it from the very queries and
    keys the kernel gets.
    """

    def __init__(self, settings: ViTSettings) -> None:
        super().__init__()
        self.settings = settings
        body: Any = build_timm_body(settings.model_dump())
        self.register_buffer("mean", torch.tensor(settings.mean))
        self.register_buffer("std", torch.tensor(settings.std))
        self.blocks, self.norm = nn.ModuleList(body.blocks), body.norm
        body.blocks, body.norm = nn.Identity(), nn.Identity()
        self.stem = body
        self.mask_token = nn.Parameter(torch.zeros(settings.width)) if settings.mask_token else None

    def embed_images(self, images: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Grid]:
        """Tokens before any block, and the grid; see `Encoder.embed_images`."""
        check_mask_token(mask, self.mask_token)
        grid = self.patch_grid(images)
        x = self.stem.patch_embed((images - self.mean) / self.std)
        if mask is not None and self.mask_token is not None:
            x = torch.where(mask.reshape(-1, *grid, 1), self.mask_token.to(x.dtype), x)
        embedded = self.stem._pos_embed(x)
        x = embedded[0] if isinstance(embedded, tuple) else embedded
        return self.stem.norm_pre(x), grid

    def context(self, grid: Grid) -> list[dict[str, Tensor]]:
        """What each block is called with: its rotary embedding, if the model has one."""
        rope = getattr(self.stem, "rope", None)
        if rope is None:
            return [{}] * len(self.blocks)
        angles = rope.get_embed(shape=grid)
        mixed = getattr(self.stem, "rope_mixed", False)
        return [{"rope": angles[i] if mixed else angles} for i in range(len(self.blocks))]

    def step(
        self,
        index: int,
        x: Tensor,
        context: list[dict[str, Tensor]],
        row: bool = False,
        watch: AttentionCallback | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Run one block; see `Encoder.step`."""
        block = self.blocks[index]
        if not row and watch is None:
            return block(x, **context[index]), None
        with AttentionCaptureMode(row, watch) as attention:
            x = block(x, **context[index])
        return x, attention.row
