"""A Vision Transformer with registers, LayerScale and drop-path, for any grid of patches."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from medprior.errors import ConfigError
from medprior.networks.encoder import AttentionCallback, Encoder, Grid, Tokens, check_mask_token
from medprior.networks.life import LifeProjection
from medprior.networks.vit_settings import ViTSettings

__all__ = ["Attention", "Block", "Tokens", "ViTSettings", "VisionTransformer", "build_sine_positions"]


class Attention(nn.Module):
    """Multi-head self-attention, fused; the CLS row is computed beside it only when asked.

    Args:
        width: D. heads: H.
        projection: gives queries, keys and values in place of a linear layer.
    """

    def __init__(self, width: int, heads: int, projection: LifeProjection | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError("width is no multiple of heads", found=f"{width} / {heads}")
        self.heads = heads
        self.qkv: nn.Linear | LifeProjection = projection or nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def split(self, x: Tensor, grid: Grid | None = None) -> Tensor:
        """Queries, keys, values of tokens [B, T, D] as [3, B, H, T, D / H]; LIFE needs `grid`."""
        if isinstance(self.qkv, LifeProjection):
            assert grid is not None
            qkv: Tensor = self.qkv(x, grid)
        else:
            qkv = self.qkv(x)
        return rearrange(qkv, "b t (three h d) -> three b h t d", three=3, h=self.heads)

    def forward(
        self, x: Tensor, row_from: int | None = None, grid: Grid | None = None, watch: AttentionCallback | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Attend over tokens.

        Args:
            x: [B, T, D].
            row_from: with an index, also return the CLS query's scaled scores, float32 [B, H, T].
            grid: rows and columns of the patches, for LIFE.
            watch: receives the attention matrix [B, H, T, T].
        """
        q, k, v = self.split(x, grid)
        out = F.scaled_dot_product_attention(q, k, v) if watch is None else attend_with_callback(q, k, v, watch)
        out = self.project(rearrange(out, "b h t d -> b t (h d)"))
        return out, None if row_from is None else compute_cls_scores(q, k)


def compute_cls_scores(q: Tensor, k: Tensor) -> Tensor:
    """The CLS query's scaled scores on all keys, float32 [B, H, T] also under autocast.

    Shape:
        q, k: [B, H, T, d], as fused attention gets them.
    """
    with torch.autocast(q.device.type, enabled=False):
        query = q[:, :, 0].float() * q.shape[-1] ** -0.5
        row: Tensor = torch.einsum("bhd,bhtd->bht", query, k.float())
        return row


def attend_with_callback(q: Tensor, k: Tensor, v: Tensor, watch: AttentionCallback) -> Tensor:
    """Attention of [B, H, T, d] by the explicit matrix: float32 softmax, given to `watch`, then used."""
    with torch.autocast(q.device.type, enabled=False):
        scores = (q.float() * q.shape[-1] ** -0.5) @ k.float().transpose(-1, -2)
        attention = scores.softmax(-1)
        watch(attention)
        out: Tensor = (attention @ v.float()).to(v.dtype)
        return out


class DropPath(nn.Module):
    """Drop a block's branch for whole samples (stochastic depth, Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.drop_prob = rate  # timm's name for it

    def forward(self, x: Tensor) -> Tensor:
        """Zero samples of x [B, ...] with probability `rate` and rescale the rest."""
        if not self.training or self.drop_prob == 0:
            return x
        keep = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.drop_prob
        return x * keep.to(x.dtype) / (1 - self.drop_prob)


def disable_drop_path(network: nn.Module) -> None:
    """Set the rate of stochastic depth to 0 in all blocks, ours and timm's, also while training."""
    for module in network.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0  # type: ignore[assignment]


class Block(nn.Module):
    """Pre-norm transformer block.

    Args:
        settings: of the network.
        drop_path: rate of stochastic depth.
        nosn: no skip around the attention and no norm before the MLP, as in the last block of SAR's command
            (helia95/SAR); it has no drop-path and no LayerScale there (LayerScale: our choice).
    """

    def __init__(self, settings: ViTSettings, drop_path: float, nosn: bool = False) -> None:
        super().__init__()
        width, hidden = settings.width, int(settings.width * settings.mlp_ratio)
        self.nosn = nosn
        life = None
        if settings.life:
            prefix = 1 + settings.registers
            life = LifeProjection(width, prefix, settings.life_aux_key, settings.life_norm)
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, settings.heads, life)
        self.norm2 = nn.Identity() if nosn else nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.drop_path = DropPath(drop_path)
        scale = settings.layer_scale
        self.scale1 = nn.Parameter(torch.full((width,), scale)) if scale and not nosn else None
        self.scale2 = nn.Parameter(torch.full((width,), scale)) if scale else None

    def forward(
        self, x: Tensor, row_from: int | None = None, grid: Grid | None = None, watch: AttentionCallback | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Transform tokens x [B, T, D]; arguments and second value as of `Attention.forward`."""
        branch, row = self.attention(self.norm1(x), row_from, grid, watch)
        skipped = branch if self.scale1 is None else branch * self.scale1
        x = branch if self.nosn else x + self.drop_path(skipped)
        branch = self.mlp(self.norm2(x))
        x = x + self.drop_path(branch if self.scale2 is None else branch * self.scale2)
        return x, row


def build_sine_positions(width: int, rows: int, columns: int) -> Tensor:
    """Sines and cosines of the patch's row and column, [1, width, rows, columns] in [-1, 1].

    The start of the learned position embedding: from it a short training learns positions in far fewer steps than from
    noise (our choice, after Chen et al. 2021, MoCo v3).
    """
    quarter = -(-width // 4)
    rates = torch.exp(-math.log(10_000) * torch.arange(quarter) / quarter)
    y = torch.arange(rows)[:, None, None] * rates
    x = torch.arange(columns)[None, :, None] * rates
    waves = [f(a).expand(rows, columns, quarter) for a in (y, x) for f in (torch.sin, torch.cos)]
    return rearrange(torch.cat(waves, -1)[..., :width], "y x d -> 1 d y x")


class VisionTransformer(Encoder):
    """ViT (Dosovitskiy et al. 2021) for one-channel images; tokens: CLS, registers, patches.

    For another grid than that of `image_size` the positions are resized bicubically with antialias. DINO's and DINOv2's
    code do so without it: at 96 px after 224 px the embeddings differ by 5 % (norm of the difference). Our choice: a
    coarse grid's positions are means over what its patches cover, and do not skip any.
    """

    def __init__(self, settings: ViTSettings) -> None:
        super().__init__()
        self.settings = settings
        width, patch = settings.width, settings.patch
        side = self.patch_grid(torch.empty(settings.image_size, settings.image_size))[0]
        self.register_buffer("mean", torch.tensor(settings.mean))
        self.register_buffer("std", torch.tensor(settings.std))
        self.embed = nn.Conv2d(1, width, patch, patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.registers = nn.Parameter(torch.zeros(1, settings.registers, width))
        self.position = nn.Parameter(torch.zeros(1, width, side, side))
        self.mask_token = nn.Parameter(torch.zeros(width)) if settings.mask_token else None
        rates = torch.linspace(0, settings.drop_path, settings.depth).tolist()
        last = settings.depth - 1
        self.blocks = nn.ModuleList(
            Block(settings, rate, settings.nosn and index == last) for index, rate in enumerate(rates)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.position.data.copy_(build_sine_positions(self.settings.width, *self.position.shape[-2:]))
        nn.init.trunc_normal_(self.cls, std=0.02)
        nn.init.trunc_normal_(self.registers, std=0.02)
        nn.init.xavier_uniform_(self.embed.weight.view(self.settings.width, -1))
        if self.embed.bias is not None:
            nn.init.zeros_(self.embed.bias)

    def embed_images(self, images: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Grid]:
        """Tokens before any block, and the grid; see `Encoder.embed_images`."""
        check_mask_token(mask, self.mask_token)
        grid = self.patch_grid(images)
        maps: Tensor = self.embed((images - self.mean) / self.std)
        if mask is not None and self.mask_token is not None:
            masked = rearrange(mask, "b (y x) -> b 1 y x", y=grid[0])
            maps = torch.where(masked, self.mask_token.to(maps.dtype)[:, None, None], maps)
        position: Tensor = self.position
        if position.shape[-2:] != maps.shape[-2:]:
            position = F.interpolate(position, size=grid, mode="bicubic", antialias=True)
        patches = rearrange(maps + position, "b d y x -> b (y x) d")
        prefix = torch.cat([self.cls, self.registers], dim=1).expand(images.shape[0], -1, -1)
        return torch.cat([prefix.to(patches.dtype), patches], dim=1), grid

    def context(self, grid: Grid) -> Grid:
        """The grid, which LIFE needs."""
        return grid

    def step(
        self, index: int, x: Tensor, context: Grid, row: bool = False, watch: AttentionCallback | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Run one block; see `Encoder.step`."""
        output: tuple[Tensor, Tensor | None] = self.blocks[index](x, 0 if row else None, context, watch)
        return output
