"""LIFE (Local InFormation Enhancer): queries, keys and values at three scales of neighbourhood.

Source: the authors' code (NeurAI-Lab/LIFE, `life/models/deit/ms_qkv.py`), rewritten from its description.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from medprior.errors import ConfigError
from medprior.networks.vit_settings import AuxKey

SCALE_COUNT = 3


class LifeProjection(nn.Module):
    """Replaces `Linear(D, 3D)` by a cascade of 1x1, 3x3 and 5x5 convolutions.

    Patches see 1, 3 x 3 and 7 x 7 neighbours at the three scales; CLS and registers skip the depthwise steps. Each
    scale gives a third of every query, key and value, so with a number of heads that 3 divides each head sees exactly
    one scale. Affine in its input without `norm`.

    Parameters: 3 D^2 + 35 D, 32 D more than the linear layer.

    Args:
        width: D, a multiple of 3.
        prefix: tokens before the patches.
        aux_key: `fixed`, or `repo`: the authors' code repeats the first scale in the keys of the tokens before the
            patches; for weights that were trained so.
        norm: one LayerNorm shared by queries, keys and values (the authors' `--qkv_norm`).

    Raises:
        ConfigError: the width is no multiple of 3.
    """

    def __init__(self, width: int, prefix: int, aux_key: AuxKey = "fixed", norm: bool = False) -> None:
        super().__init__()
        if width % SCALE_COUNT:
            raise ConfigError(
                "LIFE needs a width that is a multiple of 3",
                where="network.width", found=str(width), fix="use 192, 384 or 768",
            )  # fmt: skip
        self.prefix, self.aux_key = prefix, aux_key
        self.first = nn.Linear(width, width)
        self.near = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.near_mix = nn.Conv2d(width, width, 1, bias=False)
        self.far = nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False)
        self.far_mix = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.LayerNorm(width) if norm else None

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """[B, T, D] -> [B, T, 3D], queries, keys, values; T = prefix + rows * columns."""
        first = self.first(x)
        second = self._next_scale(first, grid, self.near, self.near_mix)
        third = self._next_scale(second, grid, self.far, self.far_mix)
        scales = [y.chunk(3, dim=-1) for y in (first, second, third)]
        q, k, v = (torch.cat([scale[part] for scale in scales], dim=-1) for part in range(3))
        if self.aux_key == "repo":
            aux = scales[0][1][:, : self.prefix].repeat(1, 1, SCALE_COUNT)
            k = torch.cat([aux, k[:, self.prefix :]], dim=1)
        if self.norm is not None:
            q, k, v = self.norm(q), self.norm(k), self.norm(v)
        return torch.cat([q, k, v], dim=-1)

    def _next_scale(self, y: Tensor, grid: tuple[int, int], depthwise: nn.Conv2d, mix: nn.Conv2d) -> Tensor:
        """The next scale [B, T, D]: patches through both convolutions, others through `mix`."""
        maps = rearrange(y[:, self.prefix :], "b (y x) d -> b d y x", y=grid[0]).contiguous()
        patches = rearrange(mix(depthwise(maps)), "b d y x -> b (y x) d")
        others = nn.functional.linear(y[:, : self.prefix], mix.weight[:, :, 0, 0])
        return torch.cat([others.to(patches.dtype), patches], dim=1)
