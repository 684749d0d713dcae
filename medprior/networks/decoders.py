"""Segmentation on a Vision Transformer: a linear or a light multi-scale decoder of patch tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from medprior.networks.encoder import Encoder, Tokens

DecoderKind = Literal["linear", "pyramid", "detail"]


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


class ImageEdges(nn.ModuleList):
    """One convolution of the image a level."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__(nn.Conv2d(1, channels, 3, padding=1) for _ in range(levels))

    def forward(self, images: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Features [B, channels, h, w] of images [B, 1, S, S] in [0, 1], one for each (h, w)."""
        small = [F.adaptive_avg_pool2d(images - 0.5, shape) for shape in shapes]
        return [F.gelu(convolve(image)) for convolve, image in zip(self, small, strict=True)]


class DetailEncoder(nn.Module):
    """A small CNN of the image, for what patches are too coarse for: thin recesses and sharp borders.

    Two convolutions a level; the finest level is at half the image's resolution, each other at half of the one before.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.halve = nn.ModuleList(
            nn.Conv2d(1 if level == 0 else channels, channels, 3, stride=2, padding=1) for level in range(levels)
        )
        self.refine = nn.ModuleList(build_refine_block(channels) for _ in range(levels))

    def forward(self, images: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Features [B, channels, h, w] of images [B, 1, S, S] in [0, 1], one for each (h, w), coarse to fine."""
        x, features = images - 0.5, []
        for halve, refine in zip(self.halve, self.refine, strict=True):
            x = refine(F.gelu(halve(x)))
            features.append(x)
        return [
            F.interpolate(feature, size=shape, mode="bilinear") if feature.shape[-2:] != shape else feature
            for feature, shape in zip(reversed(features), shapes, strict=True)
        ]


class PyramidDecoder(nn.Module):
    """Upsamples patch tokens in steps of two, adding shallower blocks and features of the image itself.

    In the manner of UNETR (Hatamizadeh et al. 2022), reduced to one convolution a level (our choice). It stops at half
    the image's resolution; logits are enlarged from there.

    Args:
        width: of the tokens.
        structures: number of maps K.
        depth: blocks of the backbone.
        patch: side of a patch, pixels.
        channels: of every level.
        detail: take the image's features from a `DetailEncoder` instead of `ImageEdges`.
    """

    def __init__(
        self, width: int, structures: int, depth: int, patch: int, channels: int = 32, detail: bool = False
    ) -> None:
        super().__init__()
        levels = max(1, int(math.log2(patch)) - 1)
        self.depths = choose_tap_depths(depth, min(3, depth, levels + 1))
        self.project = nn.ModuleList(nn.Conv2d(width, channels, 1) for _ in self.depths)
        self.bottom = build_refine_block(channels)
        self.edges = DetailEncoder(channels, levels) if detail else ImageEdges(channels, levels)
        self.levels = nn.ModuleList(build_refine_block(channels) for _ in range(levels))
        self.head = nn.Conv2d(channels, structures, 1)

    def forward(self, maps: list[Tensor], images: Tensor) -> Tensor:
        """Logits [B, K, S, S] from patch maps after `depths` and the images [B, 1, S, S]."""
        deep = [project(m) for project, m in zip(self.project, maps, strict=True)]
        x = self.bottom(deep.pop())
        rows, columns = x.shape[-2:]
        shapes = [(rows << number, columns << number) for number in range(1, len(self.levels) + 1)]
        for shape, edge, level in zip(shapes, self.edges(images, shapes), self.levels, strict=True):
            x = F.interpolate(x, size=shape, mode="bilinear") + edge
            if deep:
                x = x + F.interpolate(deep.pop(), size=shape, mode="bilinear")
            x = level(x)
        return F.interpolate(self.head(x), size=images.shape[-2:], mode="bilinear")


class Segmenter(nn.Module):
    """A Vision Transformer with a decoder; one sigmoid map per structure, which may overlap.

    Args:
        vit: the backbone.
        structures: number of structures K.
        kind: `linear`, `pyramid`, or `detail`: a pyramid with a small CNN of the image beside the patches.
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
            self.decoder = PyramidDecoder(
                shape.width, structures, shape.depth, shape.patch, channels, detail=kind == "detail"
            )

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K, S, S] of images [B, 1, S, S] in [0, 1]."""
        return self.forward_with_tokens(images, capture=False)[0]

    def forward_with_tokens(self, images: Tensor, capture: bool = True) -> tuple[Tensor, Tokens]:
        """Logits and the backbone's tokens from one pass; with `capture`, its CLS row too."""
        tokens, maps = self.vit.forward_intermediates(images, self.decoder.depths, capture)
        return self.decoder(maps, images), tokens
