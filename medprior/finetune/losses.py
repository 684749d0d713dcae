"""Losses that ignore unknown targets (NaN); pure functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def masked_bce(logits: Tensor, targets: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy over the known entries of a multi-label target.

    Args:
        logits: [B, C].
        targets: [B, C] in [0, 1]; NaN is unknown and gives no gradient.
        pos_weight: [C], factor of the positive term, or None.

    Returns:
        Scalar float32: mean over the known entries, 0 where there is none.
    """
    known = ~torch.isnan(targets)
    filled = torch.where(known, targets, 0.0)
    bce = F.binary_cross_entropy_with_logits(logits.float(), filled.float(), pos_weight=pos_weight, reduction="none")
    return torch.where(known, bce, 0.0).sum() / known.sum().clamp(min=1)


def masked_dice_bce(
    logits: Tensor,
    targets: Tensor,
    dice_weight: float = 1.0,
    smooth: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Soft Dice loss plus binary cross-entropy, one sigmoid per structure.

    Args:
        logits: [B, K, S, S].
        targets: [B, K, S, S], share of each pixel that the structure covers; a structure that is
            unknown in an image is NaN everywhere and gives no gradient.
        dice_weight: factor of the Dice term.
        smooth: pixels added to both sides of the ratio, so that two empty masks agree.
        weight: [B] in [0, 1], weight of each image; None for 1. An image of half the weight has half
            the gradient, whatever the other images of the batch are.

    Returns:
        Scalar float32: mean over the known (image, structure) pairs, 0 where there is none.
    """
    unknown = torch.isnan(targets)
    known = ~unknown.flatten(2).any(dim=-1)
    filled = torch.where(unknown, 0.0, targets).float()
    logits = logits.float()
    bce = F.binary_cross_entropy_with_logits(logits, filled, reduction="none").flatten(2).mean(-1)
    probability = logits.sigmoid()
    overlap = (probability * filled).flatten(2).sum(-1)
    total = (probability + filled).flatten(2).sum(-1)
    pairs = bce + dice_weight * (1 - (2 * overlap + smooth) / (total + smooth))
    if weight is not None:
        pairs = pairs * weight[:, None]
    return torch.where(known, pairs, 0.0).sum() / known.sum().clamp(min=1)
