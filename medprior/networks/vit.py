"""A Vision Transformer with registers, LayerScale and drop-path, for any grid of patches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from medprior.errors import ConfigError
from medprior.settings import Settings


class ViTSettings(Settings):
    """Shape of a Vision Transformer.

    `registers` (Darcet et al. 2023) take up the high-norm outlier tokens, so that attention maps
    stay on anatomy; they are excluded from every map. `mean` and `std` are the intensity statistics
    the network normalises its [0, 1] input with.
    """

    width: int = Field(default=96, ge=12)
    depth: int = Field(default=4, ge=1)
    heads: int = Field(default=6, ge=1)
    patch: int = Field(default=8, ge=2)
    registers: int = Field(default=4, ge=0)
    image_size: int = Field(default=96, ge=16)
    mlp_ratio: float = Field(default=4.0, gt=0)
    layer_scale: float | None = Field(default=None, gt=0)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    mean: float = 0.5
    std: float = Field(default=0.25, gt=0)


@dataclass(frozen=True)
class Tokens:
    """What the network says of a batch, after the final norm.

    Shape:
        cls: [B, D]. patches: [B, N, D] in raster order. grid: (rows, columns), N = rows * columns.
        cls_logits: float32 [B, H, N] or None; scaled scores of the CLS query on the patch keys in
            the last block, before softmax, attached to the graph.
        cls_mass: float32 [B, H] or None; share of the CLS query's attention that falls on patches.
    """

    cls: Tensor
    patches: Tensor
    grid: tuple[int, int]
    cls_logits: Tensor | None = None
    cls_mass: Tensor | None = None


class Attention(nn.Module):
    """Multi-head self-attention, fused; the CLS row is computed beside it only when asked."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError("width is no multiple of heads", found=f"{width} / {heads}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """Queries, keys and values of tokens [B, T, D] as [3, B, H, T, D / H]."""
        qkv: Tensor = self.qkv(x)
        return rearrange(qkv, "b t (three h d) -> three b h t d", three=3, h=self.heads)

    def forward(self, x: Tensor, row_from: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Attend over tokens.

        Args:
            x: [B, T, D].
            row_from: with an index, also return the CLS query's scaled scores, float32 [B, H, T].
        """
        q, k, v = self.split(x)
        out = F.scaled_dot_product_attention(q, k, v)
        out = self.project(rearrange(out, "b h t d -> b t (h d)"))
        if row_from is None:
            return out, None
        with torch.autocast(x.device.type, enabled=False):
            query = q[:, :, 0].float() * q.shape[-1] ** -0.5
            row = torch.einsum("bhd,bhtd->bht", query, k.float())
        return out, row


class DropPath(nn.Module):
    """Drop a block's branch for whole samples (stochastic depth, Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Zero samples of x [B, ...] with probability `rate` and rescale the rest."""
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * keep.to(x.dtype) / (1 - self.rate)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, settings: ViTSettings, drop_path: float) -> None:
        super().__init__()
        width, hidden = settings.width, int(settings.width * settings.mlp_ratio)
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, settings.heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.drop_path = DropPath(drop_path)
        scale = settings.layer_scale
        self.scale1 = nn.Parameter(torch.full((width,), scale)) if scale else None
        self.scale2 = nn.Parameter(torch.full((width,), scale)) if scale else None

    def forward(self, x: Tensor, row_from: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Transform tokens x [B, T, D]; the second value is `Attention.forward`'s row."""
        branch, row = self.attention(self.norm1(x), row_from)
        x = x + self.drop_path(branch if self.scale1 is None else branch * self.scale1)
        branch = self.mlp(self.norm2(x))
        x = x + self.drop_path(branch if self.scale2 is None else branch * self.scale2)
        return x, row


def sine_positions(width: int, rows: int, columns: int) -> Tensor:
    """Sines and cosines of the patch's row and column, [1, width, rows, columns] in [-1, 1].

    The start of the learned position embedding: from it a short training finds out where things are
    in far fewer steps than from noise (our choice, after Chen et al. 2021, MoCo v3).
    """
    quarter = -(-width // 4)
    rates = torch.exp(-math.log(10_000) * torch.arange(quarter) / quarter)
    y = torch.arange(rows)[:, None, None] * rates
    x = torch.arange(columns)[None, :, None] * rates
    waves = [f(a).expand(rows, columns, quarter) for a in (y, x) for f in (torch.sin, torch.cos)]
    return rearrange(torch.cat(waves, -1)[..., :width], "y x d -> 1 d y x")


class VisionTransformer(nn.Module):
    """ViT (Dosovitskiy et al. 2021) for one-channel images; tokens: CLS, registers, patches."""

    mean: Tensor
    std: Tensor

    def __init__(self, settings: ViTSettings) -> None:
        super().__init__()
        self.settings = settings
        width, patch = settings.width, settings.patch
        self._check(settings.image_size, settings.image_size)
        side = settings.image_size // patch
        self.register_buffer("mean", torch.tensor(settings.mean))
        self.register_buffer("std", torch.tensor(settings.std))
        self.embed = nn.Conv2d(1, width, patch, patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.registers = nn.Parameter(torch.zeros(1, settings.registers, width))
        self.position = nn.Parameter(torch.zeros(1, width, side, side))
        rates = torch.linspace(0, settings.drop_path, settings.depth).tolist()
        self.blocks = nn.ModuleList(Block(settings, rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self._initialise()

    @property
    def prefix(self) -> int:
        """Number of tokens before the patches: CLS and registers."""
        return 1 + self.settings.registers

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.position.data.copy_(sine_positions(self.settings.width, *self.position.shape[-2:]))
        nn.init.trunc_normal_(self.cls, std=0.02)
        nn.init.trunc_normal_(self.registers, std=0.02)
        nn.init.xavier_uniform_(self.embed.weight.view(self.settings.width, -1))
        if self.embed.bias is not None:
            nn.init.zeros_(self.embed.bias)

    def _check(self, rows: int, columns: int) -> None:
        patch = self.settings.patch
        if rows % patch or columns % patch:
            raise ConfigError(
                "image size is no multiple of the patch",
                expected=f"multiples of {patch}", found=f"{rows} x {columns}",
                fix="change the view size or network.patch",
            )  # fmt: skip

    def embedded(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens [B, T, D] of images [B, 1, S, S] in [0, 1], before any block, and the grid."""
        self._check(images.shape[-2], images.shape[-1])
        maps: Tensor = self.embed((images - self.mean) / self.std)
        grid = (maps.shape[-2], maps.shape[-1])
        position: Tensor = self.position
        if position.shape[-2:] != maps.shape[-2:]:
            position = F.interpolate(position, size=grid, mode="bicubic", antialias=True)
        patches = rearrange(maps + position, "b d y x -> b (y x) d")
        prefix = torch.cat([self.cls, self.registers], dim=1).expand(len(images), -1, -1)
        return torch.cat([prefix.to(patches.dtype), patches], dim=1), grid

    def forward(self, images: Tensor, capture: bool = False) -> Tokens:
        """Encode images [B, 1, S, S] in [0, 1]; with `capture` also the last block's CLS row."""
        x, grid = self.embedded(images)
        row = None
        for index, block in enumerate(self.blocks):
            last = capture and index == len(self.blocks) - 1
            x, row = block(x, 0 if last else None)
        x = self.norm(x)
        patches = x[:, self.prefix :]
        if row is None:
            return Tokens(x[:, 0], patches, grid)
        logits = row[..., self.prefix :]
        mass = (logits.logsumexp(-1) - row.logsumexp(-1)).exp()
        return Tokens(x[:, 0], patches, grid, logits, mass)
