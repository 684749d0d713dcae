"""Divergences of a head's attention from a prior: the forms of SPAN's loss.

All are our choice: the abstract of arXiv 2209.03745 gives the idea, not the loss. Each takes `AttentionComparison` and
returns [V, K], 0 where attention is as the prior wants it (`dice`, `iou` and `bce`: where it is the cover itself).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MASKED_LOGIT = -1e9


@dataclass(frozen=True)
class AttentionComparison:
    """Attention and prior of the same views.

    Shape:
        logits: float32 [V, K, N], scores of the assigned heads on the patches (CLS and registers out). cover: [V, K, N]
            in [0, 1], share of each patch that the structure covers.
        target: [V, K, N], sums to 1 over the visible patches. visible: bool [V, 1, N], or None for all.

    Attributes:
        entropy_floor: share of the target's entropy that `region` asks for.
    """

    logits: Tensor
    cover: Tensor
    target: Tensor
    visible: Tensor | None = None
    entropy_floor: float = 0.0

    @property
    def attention_log_probs(self) -> Tensor:
        """Log-softmax over the visible patches."""
        if self.visible is None:
            return self.logits.float().log_softmax(-1)
        return self.logits.float().masked_fill(~self.visible, MASKED_LOGIT).log_softmax(-1)

    def mean_over_visible(self, values: Tensor) -> Tensor:
        """Mean of [V, K, N] over the visible patches."""
        if self.visible is None:
            return values.mean(-1)
        visible_values = torch.where(self.visible, values, 0.0)
        return visible_values.sum(-1) / self.visible.sum(-1).clamp_min(1)


def build_attention_target(cover: Tensor, epsilon: float, visible: Tensor | None = None) -> Tensor:
    """The distribution that attention is compared with.

    Args:
        cover: [V, K, N] in [0, 1], 0 on unseen patches.
        epsilon: share of uniform mass over the visible patches, so that the target is nowhere 0.
        visible: bool [V, 1, N], None for all.
    """
    target = cover / cover.sum(-1, keepdim=True).clamp_min(1e-8)
    if visible is None:
        return (1 - epsilon) * target + epsilon / cover.shape[-1]
    count = visible.sum(-1, keepdim=True).clamp_min(1)
    return (1 - epsilon) * target + epsilon * visible / count


def kl_divergence(x: AttentionComparison) -> Tensor:
    """Kullback-Leibler divergence from the target; its gradient is attention minus target."""
    return (torch.xlogy(x.target, x.target) - x.target * x.attention_log_probs).sum(-1)


def region_divergence(x: AttentionComparison) -> Tensor:
    """Minus log of the mass inside; the shape inside is free but for a floor of entropy."""
    log_a = x.attention_log_probs
    attention = log_a.exp()
    inside = x.cover / x.cover.amax(-1, keepdim=True).clamp_min(1e-8)
    missed = -(attention * inside).sum(-1).clamp_min(1e-8).log()
    spread = -(attention * log_a).sum(-1)
    floor = x.entropy_floor * torch.special.entr(x.target).sum(-1)
    divergence: Tensor = missed + (floor - spread).relu()
    return divergence


def divide_attention_by_max(x: AttentionComparison) -> Tensor:
    """Attention over its largest value, which is constant for the gradient."""
    attention = x.attention_log_probs.exp()
    return attention / attention.detach().amax(-1, keepdim=True).clamp_min(1e-8)


def dice_divergence(x: AttentionComparison) -> Tensor:
    """One minus the soft Dice overlap of scaled attention and cover."""
    a = divide_attention_by_max(x)
    overlap: Tensor = 2 * (a * x.cover).sum(-1) / (a + x.cover).sum(-1).clamp_min(1e-8)
    return 1 - overlap


def iou_divergence(x: AttentionComparison) -> Tensor:
    """One minus the soft intersection over union of scaled attention and cover."""
    a = divide_attention_by_max(x)
    return 1 - (a * x.cover).sum(-1) / (a + x.cover - a * x.cover).sum(-1).clamp_min(1e-8)


def bce_divergence(x: AttentionComparison) -> Tensor:
    """Binary cross-entropy of centred scores and cover: 0.5 becomes a threshold."""
    scores = x.logits.float()
    centred = scores - x.mean_over_visible(scores)[..., None]
    losses = F.binary_cross_entropy_with_logits(centred, x.cover.float(), reduction="none")
    return x.mean_over_visible(losses)


def js_divergence(x: AttentionComparison) -> Tensor:
    """Jensen-Shannon divergence, at most ln 2."""
    attention = x.attention_log_probs.exp()
    middle = (attention + x.target) / 2
    entr = torch.special.entr
    mixed = entr(middle.clamp_min(1e-12)).sum(-1)
    separate = entr(attention.clamp_min(1e-12)).sum(-1)
    divergence: Tensor = mixed - (separate + entr(x.target).sum(-1)) / 2
    return divergence


def mse_divergence(x: AttentionComparison) -> Tensor:
    """Squared distance of the two distributions."""
    return (x.attention_log_probs.exp() - x.target).square().sum(-1)


DIVERGENCES: dict[str, Callable[[AttentionComparison], Tensor]] = {
    "kl": kl_divergence,
    "region": region_divergence,
    "dice": dice_divergence,
    "iou": iou_divergence,
    "bce": bce_divergence,
    "js": js_divergence,
    "mse": mse_divergence,
}


@torch.no_grad()
def compute_top_mass_iou(x: AttentionComparison, share: float = 0.6) -> Tensor:
    """Intersection over union of attention and prior, [V, K].

    The attention's region is the fewest patches that hold `share` of its mass (rule of DINO and SAR, confirmed), the
    prior's the patches it covers at least half (our choice).
    """
    first, second = find_densest_patches(x.attention_log_probs.exp(), share), x.cover >= 0.5
    return (first & second).sum(-1) / (first | second).sum(-1).clamp_min(1)


def find_densest_patches(mass: Tensor, share: float) -> Tensor:
    """Bool [..., N]: the fewest patches that hold `share` of a distribution."""
    ordered, order = mass.sort(-1, descending=True)
    preceding = ordered.cumsum(-1) - ordered
    return torch.zeros_like(mass, dtype=torch.bool).scatter(-1, order, preceding < share)
