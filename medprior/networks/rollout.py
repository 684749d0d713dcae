"""Dense Attention Roll-Out: which input patches an output token, or a class, was made from.

Attention roll-out (Abnar and Zuidema 2020) multiplies the attention of all blocks; it is known for the CLS row. For
dense prediction LIFE's paper names a roll-out over all tokens (name and purpose from its abstract alone); the formula
here is our design. Attention is not attribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor

from medprior.networks.encoder import Encoder, Grid, watch_attention
from medprior.settings import Settings

HeadFusion = Literal["mean", "max"]


class RolloutSettings(Settings):
    """Variants of the roll-out.

    `fusion` of heads in each block; `gradients` weighs heads by the gradient of the class's score (Chefer et al. 2021);
    `discard` drops that share of the weakest entries of each block; blocks before `start` are left out.
    """

    fusion: HeadFusion = "mean"
    gradients: bool = False
    discard: float = Field(default=0.0, ge=0, lt=1)
    start: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class RolloutResult:
    """Roll-out maps and what they leave out.

    Shape:
        maps: [B, C, rows, columns] >= 0, share of each input patch. cls_mass, register_mass: [B, C], shares that end on
            the CLS token itself (`Tokens.cls_mass` is the mass on patches) and on registers, in no map. The three add
            up to 1, or to 0 for a class without output tokens.
    """

    maps: Tensor
    cls_mass: Tensor
    register_mass: Tensor


def fuse_heads(attention: Tensor, fusion: HeadFusion = "mean") -> Tensor:
    """[B, H, T, T] -> [B, T, T]."""
    return attention.mean(1) if fusion == "mean" else attention.amax(1)


@torch.no_grad()
def collect_block_attention(encoder: Encoder, images: Tensor, fusion: HeadFusion = "mean") -> list[Tensor]:
    """Attention of every block, heads fused inside the block: memory L T^2 for each image.

    Args:
        encoder: in evaluation mode.
        images: [B, 1, S, S] in [0, 1].
        fusion: of heads.

    Returns:
        L of float32 [B, T, T], the first block's first; with `mean` every row sums to 1.
    """
    fused: list[Tensor] = []
    with watch_attention(encoder, lambda attention: fused.append(fuse_heads(attention, fusion))):
        encoder(images)
    return fused


def compute_gradient_attention(
    encoder: Encoder, score: Callable[[Tensor], Tensor], images: Tensor, fusion: HeadFusion = "mean"
) -> list[Tensor]:
    """Heads weighted by their gradient: relu(A * dy/dA), fused (Chefer et al. 2021).

    Args:
        encoder: is run inside `score`.
        score: images -> [B], one number per image; computed by the encoder in evaluation mode.
        images: [B, 1, S, S] in [0, 1].
        fusion: of heads.

    Returns:
        L of float32 [B, T, T] >= 0; rows need not sum to 1.
    """
    attentions: list[Tensor] = []
    with torch.inference_mode(False), torch.enable_grad():
        inputs = images.detach().clone().requires_grad_()  # frozen weights must not cut the graph
        with watch_attention(encoder, attentions.append):
            scores = score(inputs)
        gradients = torch.autograd.grad(scores.sum(), attentions)
    pairs = zip(attentions, gradients, strict=True)
    return [fuse_heads((a * g).relu(), fusion).detach() for a, g in pairs]


def scale_to_max_row_sum(attention: Tensor) -> Tensor:
    """Gradient-weighted attention [B, T, T] with the greatest sum of a row made 1 per image.

    Our choice: a gradient is small beside the identity that the skip adds, so that nothing would move; so scaled, the
    map does not depend on the unit of the score, and rows keep their relation.
    """
    greatest = attention.sum(-1).amax(-1)[:, None, None]
    return attention / greatest.clamp_min(torch.finfo(attention.dtype).tiny)


def discard_weakest_entries(attention: Tensor, share: float) -> Tensor:
    """Without the weakest `share` of the entries of each image's [T, T], CLS to CLS kept."""
    count = int(share * attention.shape[-1] * attention.shape[-2])
    if count == 0:
        return attention
    flat = attention.flatten(1).clone()
    first = flat[:, 0].clone()
    weakest = flat.topk(count, dim=1, largest=False).indices
    flat.scatter_(1, weakest, 0.0)
    flat[:, 0] = first
    return flat.view_as(attention)


def compute_dense_rollout(
    attentions: Sequence[Tensor], weights: Tensor, *, start: int = 0, nosn: bool = False
) -> Tensor:
    """Carry weights of output tokens back to input tokens, block by block.

    Each block mixes tokens by attention (A) and keeps them by its skip connection (I): v <- v (I + A) with rows of
    (I + A) normalised, which for attention whose rows sum to 1 is (v + v A) / 2. The T x T product of all blocks is
    never formed.

    Args:
        attentions: L of [B, T, T], the first block's first, as of `collect_block_attention`.
        weights: [B, C, T] >= 0, how much of each class each output token is.
        start: leave out the blocks before this one.
        nosn: the last block has no skip, so nothing is kept there.

    Returns:
        [B, C, T], with the sums of `weights` over tokens.
    """
    v = weights
    for index in range(len(attentions) - 1, start - 1, -1):
        attention = attentions[index].to(v.dtype)
        skip = 0.0 if nosn and index == len(attentions) - 1 else 1.0
        share = v / (skip + attention.sum(-1)).clamp_min(torch.finfo(v.dtype).tiny)[:, None]
        v = skip * share + share @ attention
    return v


def compute_cls_rollout(attentions: Sequence[Tensor], *, start: int = 0, nosn: bool = False) -> Tensor:
    """The classic roll-out of the CLS token, [B, T]: `compute_dense_rollout` of all weight on CLS."""
    first = attentions[0]
    weights = torch.zeros(len(first), 1, first.shape[-1], device=first.device, dtype=first.dtype)
    weights[..., 0] = 1
    return compute_dense_rollout(attentions, weights, start=start, nosn=nosn)[:, 0]


def normalise_patch_shares(shares: Tensor, prefix: int) -> Tensor:
    """Weights of output tokens from how much each patch belongs to each class.

    Args:
        shares: [B, C, N] >= 0: 0 and 1 for hard weights, scores for soft ones, coverage by a mask for the truth's.
        prefix: tokens before the patches, which get none.

    Returns:
        [B, C, prefix + N], summing to 1 over tokens, or all 0 for a class without any patch.
    """
    total = shares.sum(-1, keepdim=True)
    weights = torch.where(total > 0, shares / total.clamp_min(1e-12), torch.zeros_like(shares))
    return torch.nn.functional.pad(weights, (prefix, 0))


def build_rollout_maps(token_shares: Tensor, grid: Grid, prefix: int) -> RolloutResult:
    """Rolled-out weights [B, C, T] as maps; CLS and registers are left out and accounted for."""
    maps = rearrange(token_shares[..., prefix:], "b c (y x) -> b c y x", y=grid[0])
    return RolloutResult(maps, token_shares[..., 0], token_shares[..., 1:prefix].sum(-1))
