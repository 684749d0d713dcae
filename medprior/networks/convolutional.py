"""CNN baselines behind the interface of a Vision Transformer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from medprior.networks.encoder import Tokens
from medprior.settings import Settings

ARCHITECTURE_PATTERN = r"^[a-z][a-z0-9_]{1,63}$"
ForwardPass = Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]


class ConvSettings(Settings):
    """Settings of a CNN.

    `architecture` is a name of `medprior.networks.architectures`; `mean` and `std` are the intensity statistics the
    network normalises its [0, 1] input with.
    """

    architecture: str = Field(pattern=ARCHITECTURE_PATTERN)
    mean: float = 0.5
    std: float = Field(default=0.25, gt=0)


class ConvNet(nn.Module):
    """A CNN from images to logits; it has no attention.

    Args:
        settings: recorded beside the weights.
        body: the network itself.
        run: from `body` and normalised images [B, 1, S, S] to its logits, [B, C] or [B, K, S, S], and its deepest
            feature map [B, D, h, w].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: ConvSettings, body: nn.Module, run: ForwardPass) -> None:
        super().__init__()
        self.settings = settings
        self.body = body
        self._run = run
        self.register_buffer("mean", torch.tensor(settings.mean))
        self.register_buffer("std", torch.tensor(settings.std))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] or [B, K, S, S] of images [B, 1, S, S] in [0, 1]."""
        logits: Tensor = self.body((images - self.mean) / self.std)
        return logits

    def forward_with_tokens(self, images: Tensor) -> tuple[Tensor, Tokens]:
        """Logits, and the deepest feature map's cells as tokens, from one pass."""
        logits, maps = self._run(self.body, (images - self.mean) / self.std)
        return logits, tokenise_feature_map(maps)

    @property
    def vit(self) -> CnnEncoder:
        """The encoder, in place of a Vision Transformer."""
        return CnnEncoder(self)


class CnnEncoder:
    """Encoder of a CNN: a Vision Transformer's interface without attention heads."""

    def __init__(self, network: ConvNet) -> None:
        self.network = network
        self.settings = network.settings

    def __call__(self, images: Tensor, capture: bool = False, **_: Any) -> Tokens:
        """Tokens of images [B, 1, S, S]; their attention has 0 heads, asked for or not."""
        return self.network.forward_with_tokens(images)[1]


def tokenise_feature_map(maps: Tensor) -> Tokens:
    """A feature map [B, D, h, w] as patch tokens; their mean stands for CLS (our choice)."""
    patches = rearrange(maps, "b d y x -> b (y x) d")
    none = maps.new_zeros(len(maps), 0, dtype=torch.float32)
    rows, columns = maps.shape[-2:]
    empty = none[..., None].expand(-1, -1, rows * columns)
    return Tokens(patches.mean(1), patches, (rows, columns), empty, none)
