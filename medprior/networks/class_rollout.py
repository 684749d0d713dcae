"""Roll-out maps per structure of a segmenter and per finding of a classifier (our design)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from medprior.errors import ConfigError
from medprior.networks.convolutional import ConvNet
from medprior.networks.decoders import Segmenter
from medprior.networks.encoder import Encoder, Tokens
from medprior.networks.heads import Classifier
from medprior.networks.rollout import (
    RolloutResult,
    RolloutSettings,
    build_rollout_maps,
    collect_block_attention,
    compute_dense_rollout,
    compute_gradient_attention,
    discard_weakest_entries,
    normalise_patch_shares,
    scale_to_max_row_sum,
)

PatchWeights = Literal["hard", "soft"]
ScoreFunction = Callable[[Tensor], Tensor]


def average_over_patches(maps: Tensor, patch: int) -> Tensor:
    """Means over patches: [B, C, S, S] -> [B, C, N]."""
    return F.avg_pool2d(maps, patch).flatten(2)


def compute_segmenter_rollout(
    model: Segmenter, images: Tensor, weights: PatchWeights | Tensor = "hard", settings: RolloutSettings | None = None
) -> RolloutResult:
    """Roll-out maps of a segmenter's structures.

    Args:
        model: in evaluation mode.
        images: [B, 1, S, S] in [0, 1].
        weights: output patches of a structure: `hard`, those the model gives at least 0.5; `soft`, its probability; or
            the truth's coverage, [B, K, S, S] in [0, 1].
        settings: variants; with gradients, of the mean logit over the structure's patches.
    """
    patch = model.vit.settings.patch
    with torch.no_grad():
        shares = average_over_patches(model(images).float().sigmoid(), patch)
    if isinstance(weights, Tensor):
        shares = average_over_patches(weights.float(), patch)
    elif weights == "hard":
        shares = (shares >= 0.5).float()
    tokens = normalise_patch_shares(shares, model.vit.prefix)

    def scores(pixels: Tensor) -> Tensor:
        """Mean logit over each structure's patches, [B, K]."""
        logits = average_over_patches(model(pixels).float(), patch)
        return (logits * tokens[..., model.vit.prefix :]).sum(-1)

    return compute_weighted_rollout(model.vit, images, tokens, scores, settings or RolloutSettings())


def compute_classifier_rollout(
    model: Classifier | ConvNet, images: Tensor, settings: RolloutSettings | None = None
) -> RolloutResult:
    """Roll-out maps of a classifier's findings.

    Args:
        model: in evaluation mode.
        images: [B, 1, S, S] in [0, 1].
        settings: variants. With a head on CLS alone and no gradients every finding has the same map, so gradients are
            the default here.

    Raises:
        ConfigError: a CNN.
    """
    if isinstance(model, ConvNet):
        raise ConfigError(
            "a CNN has no attention to roll out",
            where=model.settings.architecture, fix="ask Model.has_attention first",
        )  # fmt: skip
    settings = settings or RolloutSettings(gradients=True)
    weights = compute_token_contributions(model, images)
    return compute_weighted_rollout(model.vit, images, weights, model, settings)


def compute_finding_rollout(model: Classifier, images: Tensor, outputs: Sequence[int]) -> RolloutResult:
    """Gradient-weighted roll-out of some findings, one backward pass each.

    Args:
        model: in evaluation mode; it must not run in another thread meanwhile.
        images: [B, 1, S, S] in [0, 1].
        outputs: indices of the findings.

    Returns:
        Maps [B, len(outputs), rows, columns].
    """
    weights = compute_token_contributions(model, images)[:, list(outputs)]
    select = partial(select_logits, model, outputs)
    return compute_weighted_rollout(model.vit, images, weights, select, RolloutSettings(gradients=True))


def select_logits(model: Classifier, outputs: Sequence[int], images: Tensor) -> Tensor:
    """Logits of some findings, [B, len(outputs)]."""
    logits: Tensor = model(images)
    return logits[:, list(outputs)]


@torch.no_grad()
def compute_token_contributions(model: Classifier, images: Tensor) -> Tensor:
    """Share of each output token in each finding's logit, [B, C, T], summing to 1.

    The head's pooled tokens share a logit in proportion to their positive contributions; each is then spread over the
    tokens it was pooled from. Where no contribution is positive, pooled tokens count alike.
    """
    capture = model.kind == "pooled"
    tokens: Tokens = model.vit(images, capture=capture)
    batch, patches = len(images), tokens.patches.shape[1]
    spread = torch.zeros(batch, 1, model.vit.prefix + patches, device=images.device)
    spread[..., 0] = 1
    if model.kind == "cls_mean":
        even = torch.full((batch, 1, patches), 1 / patches, device=images.device)
        spread = torch.cat([spread, F.pad(even, (model.vit.prefix, 0))], dim=1)
    if tokens.cls_logits is not None:
        attention = tokens.cls_logits[:, model.heads].softmax(-1)
        spread = torch.cat([spread, F.pad(attention, (model.vit.prefix, 0))], dim=1)
    pooled = model.norm(model.features(images)).float()
    columns = rearrange(model.linear.weight.float(), "c (p d) -> c p d", p=pooled.shape[1])
    parts = torch.einsum("bpd,cpd->bcp", pooled, columns).relu()
    total = parts.sum(-1, keepdim=True)
    even_parts = torch.full_like(parts, 1 / parts.shape[-1])
    shares = torch.where(total > 0, parts / total.clamp_min(1e-12), even_parts)
    return shares @ spread


def select_class_score(scores: ScoreFunction, index: int, images: Tensor) -> Tensor:
    """Score of one class, [B]."""
    return scores(images)[:, index]


def compute_weighted_rollout(
    encoder: Encoder, images: Tensor, weights: Tensor, scores: ScoreFunction, settings: RolloutSettings
) -> RolloutResult:
    """Roll weights [B, C, T] of output tokens out under `settings`.

    Args:
        encoder: in evaluation mode.
        images: [B, 1, S, S] in [0, 1].
        weights: of output tokens per class.
        scores: images -> [B, C], what gradients are of.
        settings: variants.
    """
    nosn, start = encoder.settings.nosn, settings.start

    def roll_out(attentions: Sequence[Tensor], token_weights: Tensor) -> Tensor:
        """Roll out after dropping the weakest entries."""
        strongest = [discard_weakest_entries(attention, settings.discard) for attention in attentions]
        return compute_dense_rollout(strongest, token_weights, start=start, nosn=nosn)

    if settings.gradients:
        parts = []
        for index in range(weights.shape[1]):
            score = partial(select_class_score, scores, index)
            attentions = compute_gradient_attention(encoder, score, images, settings.fusion)
            attentions = [scale_to_max_row_sum(attention) for attention in attentions]
            parts.append(roll_out(attentions, weights[:, index : index + 1]))
        token_shares = torch.cat(parts, dim=1)
    else:
        token_shares = roll_out(collect_block_attention(encoder, images, settings.fusion), weights)
    return build_rollout_maps(token_shares, encoder.patch_grid(images), encoder.prefix)
