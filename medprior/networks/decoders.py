"""Segmentation on a Vision Transformer: a linear or a light multi-scale decoder of patch tokens."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from medprior.networks.encoder import Encoder, Tokens

DecoderKind = Literal["linear", "pyramid"]


def choose_tap_depths(depth: int, count: int) -> tuple[int, ...]:
    """Numbers of blocks after which features are taken: evenly spaced, the last one included."""
    return tuple(sorted({max(1, round(depth * (i + 1) / count)) for i in range(count)}))


def build_refine_block(channels: int) -> nn.Sequential:
    """3 x 3 convolution, group norm, GELU; [B, channels, h, w] -> the same shape."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.GroupNorm(math.gcd(8, channels), channels),
        nn.GELU(),
    )


class LinearDecoder(nn.Module):
    """One linear layer per patch token; a linear probe."""

    def __init__(self, width: int, structures: int, depth: int) -> None:
        super().__init__()
        self.depths = (depth,)
        self.linear = nn.Conv2d(width, structures, 1)

    def forward(self, maps: list[Tensor], images: Tensor) -> Tensor:
        """Logits [B, K, S, S], bilinear between patch centres."""
        logits: Tensor = self.linear(maps[-1])
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear")


class PyramidDecoder(nn.Module):
    """Upsamples patch tokens in steps of two, adding shallower blocks and the image's own edges.

    In the manner of UNETR (Hatamizadeh et al. 2022), reduced to one convolution a level (our choice). It stops at half
    the image's resolution; logits are enlarged from there.
    """

    def __init__(self, width: int, structures: int, depth: int, patch: int, channels: int = 32) -> None:
        super().__init__()
        levels = max(1, int(math.log2(patch)) - 1)
        self.depths = choose_tap_depths(depth, min(3, depth, levels + 1))
        self.project = nn.ModuleList(nn.Conv2d(width, channels, 1) for _ in self.depths)
        self.bottom = build_refine_block(channels)
        self.edges = nn.ModuleList(nn.Conv2d(1, channels, 3, padding=1) for _ in range(levels))
        self.levels = nn.ModuleList(build_refine_block(channels) for _ in range(levels))
        self.head = nn.Conv2d(channels, structures, 1)

    def forward(self, maps: list[Tensor], images: Tensor) -> Tensor:
        """Logits [B, K, S, S] from patch maps after `depths` and the images [B, 1, S, S]."""
        deep = [project(m) for project, m in zip(self.project, maps, strict=True)]
        x = self.bottom(deep.pop())
        for edge, level in zip(self.edges, self.levels, strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
            small = F.adaptive_avg_pool2d(images - 0.5, (x.shape[-2], x.shape[-1]))
            x = x + F.gelu(edge(small))
            if deep:
                x = x + F.interpolate(deep.pop(), size=x.shape[-2:], mode="bilinear")
            x = level(x)
        return F.interpolate(self.head(x), size=images.shape[-2:], mode="bilinear")


class Segmenter(nn.Module):
    """A Vision Transformer with a decoder; one sigmoid map per structure, which may overlap.

    Args:
        vit: the backbone.
        structures: number of structures K.
        kind: `linear` or `pyramid`.
        channels: width of the pyramid.
    """

    def __init__(self, vit: Encoder, structures: int, kind: DecoderKind = "pyramid", channels: int = 32) -> None:
        super().__init__()
        shape = vit.settings
        self.vit = vit
        self.decoder: LinearDecoder | PyramidDecoder
        if kind == "linear":
            self.decoder = LinearDecoder(shape.width, structures, shape.depth)
        else:
            self.decoder = PyramidDecoder(shape.width, structures, shape.depth, shape.patch, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K, S, S] of images [B, 1, S, S] in [0, 1]."""
        return self.forward_with_tokens(images, capture=False)[0]

    def forward_with_tokens(self, images: Tensor, capture: bool = True) -> tuple[Tensor, Tokens]:
        """Logits and the backbone's tokens from one pass; with `capture`, its CLS row too."""
        tokens, maps = self.vit.forward_intermediates(images, self.decoder.depths, capture)
        return self.decoder(maps, images), tokens
