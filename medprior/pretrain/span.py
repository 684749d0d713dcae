"""SPAN: heads of the last block follow a spatial prior.

The idea (regularise the attention of separate heads towards priors of semantic regions) is stated
in the abstract of arXiv 2209.03745; the form of the loss, its weight and its gate are our choice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medprior.pretrain.ranks import total, world


def visible(patches: Tensor, source: Tensor, share: float, cover: float) -> Tensor:
    """Which (view, structure) pairs hold enough of the structure to learn from.

    Args:
        patches: [V, K, N] share of each patch that the prior covers.
        source: [V, K] share of the view's area that the whole structure would cover.
        share: least part of the structure inside the view.
        cover: least part of the view that the structure covers.

    Returns:
        bool [V, K].
    """
    inside = patches.mean(-1)
    return (inside >= share * source) & (inside >= cover)


def span_kl(logits: Tensor, patches: Tensor, gate: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Kullback-Leibler divergence from the prior to the heads' attention over patches.

    Args:
        logits: CLS scores [V, K, N] of the assigned heads on the patches (CLS and registers out).
        patches: prior coverage [V, K, N] in [0, 1].
        gate: bool or weights [V, K]; pairs at 0 count nothing.
        epsilon: share of uniform mass mixed into the target, so that it is nowhere 0.

    Returns:
        Scalar mean over gated pairs of all processes, and the per-structure mean [K] (detached).
        The gradient on a pair's logits is attention minus target.
    """
    mass = patches.sum(-1, keepdim=True)
    target = patches / mass.clamp_min(1e-8)
    target = (1 - epsilon) * target + epsilon / patches.shape[-1]
    divergence = (torch.xlogy(target, target) - target * logits.float().log_softmax(-1)).sum(-1)
    weight = gate.to(divergence.dtype)
    count = total(weight.sum()).clamp_min(1e-6)
    by_structure = (divergence * weight).sum(0) / weight.sum(0).clamp_min(1e-6)
    return (divergence * weight).sum() * world() / count, by_structure.detach()
