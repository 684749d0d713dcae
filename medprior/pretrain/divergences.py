"""How far a head's attention is from a prior: the forms that SPAN's loss can take.

All are our choice (methods 3.3): the abstract of arXiv 2209.03745 gives the idea, not the loss.
Each takes `Compared` and returns [V, K], 0 where attention is as the prior wants it (`dice`, `iou`
and `bce`: where it is the cover itself).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

NEVER = -1e9


@dataclass(frozen=True)
class Compared:
    """Attention beside prior.

    Shape:
        logits: float32 [V, K, N], scores of the assigned heads on the patches (CLS and registers
            out). cover: [V, K, N] in [0, 1], share of each patch that the structure covers.
        target: [V, K, N], sums to 1 over the seen patches. seen: bool [V, 1, N], or None for all.

    Attributes:
        entropy_floor: of `region`.
    """

    logits: Tensor
    cover: Tensor
    target: Tensor
    seen: Tensor | None = None
    entropy_floor: float = 0.0

    @property
    def log_attention(self) -> Tensor:
        """Log-softmax over the seen patches."""
        if self.seen is None:
            return self.logits.float().log_softmax(-1)
        return self.logits.float().masked_fill(~self.seen, NEVER).log_softmax(-1)

    def over_seen(self, values: Tensor) -> Tensor:
        """Mean of [V, K, N] over the seen patches."""
        if self.seen is None:
            return values.mean(-1)
        kept = torch.where(self.seen, values, 0.0)
        return kept.sum(-1) / self.seen.sum(-1).clamp_min(1)


def target_of(cover: Tensor, epsilon: float, seen: Tensor | None = None) -> Tensor:
    """The distribution that attention is compared with.

    Args:
        cover: [V, K, N] in [0, 1], 0 on unseen patches.
        epsilon: share of uniform mass over the seen patches, so that the target is nowhere 0.
        seen: bool [V, 1, N], None for all.
    """
    target = cover / cover.sum(-1, keepdim=True).clamp_min(1e-8)
    if seen is None:
        return (1 - epsilon) * target + epsilon / cover.shape[-1]
    count = seen.sum(-1, keepdim=True).clamp_min(1)
    return (1 - epsilon) * target + epsilon * seen / count


def kl(x: Compared) -> Tensor:
    """Kullback-Leibler divergence from the target; its gradient is attention minus target."""
    return (torch.xlogy(x.target, x.target) - x.target * x.log_attention).sum(-1)


def region(x: Compared) -> Tensor:
    """Minus log of the mass inside; the shape inside is free but for a floor of entropy."""
    log_a = x.log_attention
    attention = log_a.exp()
    inside = x.cover / x.cover.amax(-1, keepdim=True).clamp_min(1e-8)
    missed = -(attention * inside).sum(-1).clamp_min(1e-8).log()
    spread = -(attention * log_a).sum(-1)
    floor = x.entropy_floor * torch.special.entr(x.target).sum(-1)
    found: Tensor = missed + (floor - spread).relu()
    return found


def scaled(x: Compared) -> Tensor:
    """Attention over its largest value, which is constant for the gradient."""
    attention = x.log_attention.exp()
    return attention / attention.detach().amax(-1, keepdim=True).clamp_min(1e-8)


def dice(x: Compared) -> Tensor:
    """One minus the soft Dice overlap of scaled attention and cover."""
    a = scaled(x)
    overlap: Tensor = 2 * (a * x.cover).sum(-1) / (a + x.cover).sum(-1).clamp_min(1e-8)
    return 1 - overlap


def iou(x: Compared) -> Tensor:
    """One minus the soft intersection over union of scaled attention and cover."""
    a = scaled(x)
    return 1 - (a * x.cover).sum(-1) / (a + x.cover - a * x.cover).sum(-1).clamp_min(1e-8)


def bce(x: Compared) -> Tensor:
    """Binary cross-entropy of centred scores and cover: 0.5 becomes a threshold."""
    scores = x.logits.float()
    centred = scores - x.over_seen(scores)[..., None]
    each = F.binary_cross_entropy_with_logits(centred, x.cover.float(), reduction="none")
    return x.over_seen(each)


def js(x: Compared) -> Tensor:
    """Jensen-Shannon divergence, at most ln 2."""
    attention = x.log_attention.exp()
    middle = (attention + x.target) / 2
    entr = torch.special.entr
    mixed = entr(middle.clamp_min(1e-12)).sum(-1)
    own = entr(attention.clamp_min(1e-12)).sum(-1)
    found: Tensor = mixed - (own + entr(x.target).sum(-1)) / 2
    return found


def mse(x: Compared) -> Tensor:
    """Squared distance of the two distributions."""
    return (x.log_attention.exp() - x.target).square().sum(-1)


DIVERGENCES: dict[str, Callable[[Compared], Tensor]] = {
    "kl": kl, "region": region, "dice": dice, "iou": iou, "bce": bce, "js": js, "mse": mse,
}  # fmt: skip


@torch.no_grad()
def mass_overlap(x: Compared, share: float = 0.6) -> Tensor:
    """Intersection over union of attention and prior, [V, K].

    The attention's region is the fewest patches that hold `share` of its mass (rule of DINO and
    SAR, confirmed), the prior's the patches it covers at least half (our choice).
    """
    first, second = densest(x.log_attention.exp(), share), x.cover >= 0.5
    return (first & second).sum(-1) / (first | second).sum(-1).clamp_min(1)


def densest(mass: Tensor, share: float) -> Tensor:
    """Bool [..., N]: the fewest patches that hold `share` of a distribution."""
    ordered, order = mass.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(mass, dtype=torch.bool).scatter(-1, order, before < share)
