"""Attention maps of the CLS token, one per head."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from medprior.networks.encoder import Encoder, Tokens


@torch.no_grad()
def compute_attention_maps(network: Encoder, images: Tensor) -> Tensor:
    """CLS attention of each head of the last block (Caron et al. 2021, sec. 4.2).

    Args:
        network: in evaluation mode.
        images: [B, 1, S, S] in [0, 1].

    Returns:
        float32 [B, H, rows, columns], summing to 1 over the patches; CLS and registers left out.
    """
    return arrange_attention_maps(network(images, capture=True))


def arrange_attention_maps(tokens: Tokens) -> Tensor:
    """The attention [B, H, rows, columns] of tokens that hold the CLS row."""
    assert tokens.cls_logits is not None
    maps: Tensor = rearrange(tokens.cls_logits.softmax(-1), "b h (y x) -> b h y x", y=tokens.grid[0])
    return maps
