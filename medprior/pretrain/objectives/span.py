"""SPAN: heads of the last block follow a spatial prior.

The idea (regularise the attention of separate heads towards priors of semantic regions) is stated in the abstract of
arXiv 2209.03745 and known from it only; the form of the loss, its weight, its gate, the heads and their assignment are
our choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from medprior.networks.device import send_to_device
from medprior.networks.encoder import Tokens
from medprior.networks.views import compute_patch_coverage
from medprior.pretrain.distributed import all_reduce_sum, world_size
from medprior.pretrain.objectives.divergences import (
    DIVERGENCES,
    AttentionComparison,
    build_attention_target,
    compute_top_mass_iou,
    kl_divergence,
)
from medprior.pretrain.objectives.gradient_guard import GradientGuard
from medprior.pretrain.objectives.head_assignment import find_best_assignment
from medprior.pretrain.objectives.objective import Logs, MultiCropBatch, NetworkOutputs, Objective, PriorMaps
from medprior.pretrain.schedules import warmup_hold_schedule
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewBatch

MIN_LOCAL_GRID_SIDE = 6


@dataclass(frozen=True)
class SpanTargets:
    """Targets of the heads in one stack of views.

    Shape:
        cover: [V, K, N] in [0, 1], 0 on masked patches. gate: [V, K] in [0, 1], weight of each (view, structure) pair:
            visible (0/1) times trust in the prior. visible: bool [V, 1, N], None for all.
    """

    cover: Tensor
    gate: Tensor
    visible: Tensor | None


def find_visible_pairs(patches: Tensor, source: Tensor, share: float, cover: float) -> Tensor:
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


def compute_mass_penalty(mass: Tensor) -> Tensor:
    """0 where at least half of a head's attention falls on patches, else log(0.5 / mass)."""
    return (math.log(0.5) - mass.clamp_min(1e-8).log()).relu()


class SpanObjective(Objective):
    """SPAN on the student's global views (and local ones on request).

    Of a masked view (iBOT) the visible patches alone are compared: prior and attention are renormalised over them, and
    a pair counts only where a quarter of what the view shows of the structure is visible (`visible_share`).

    Args:
        settings: resolved settings.
        heads: head of each structure; -1 to assign them by the Hungarian method.
    """

    name = "span"
    reads_tokens = False
    scheduled = True
    heads: Tensor
    cost: Tensor
    pairs: Tensor

    def __init__(self, settings: PretrainSettings, heads: Sequence[int]) -> None:
        super().__init__()
        assert settings.steps is not None
        self.settings = settings.span
        self.assign_at = max(1, math.ceil(settings.span.assign_after * settings.steps))
        self.cls_row_stacks = 2 if settings.span.local_views else 1
        self.gradient_period = settings.span.guard_every if settings.span.guard else 0
        self.guard = GradientGuard()
        self.register_buffer("heads", torch.tensor(list(heads), dtype=torch.long))
        self.register_buffer("cost", torch.zeros(len(heads), settings.network.heads))
        self.register_buffer("pairs", torch.zeros(len(heads)))
        self._step_costs: list[tuple[int, Tensor, Tensor]] = []
        self._heads_read: tuple[int, int, Tensor] | None = None

    @classmethod
    def create(cls, settings: PretrainSettings, heads: Sequence[int]) -> Self | None:
        """None where the weight is 0, or without a prior."""
        return cls(settings, heads) if settings.span.weight and len(heads) else None

    def structure_heads(self) -> Tensor:
        """Head of each structure, on the CPU; the device is asked only after `heads` has changed."""
        if self._heads_read is None or self._heads_read[:2] != (id(self.heads), self.heads._version):
            self._heads_read = (id(self.heads), self.heads._version, self.heads.cpu())
        return self._heads_read[2]

    def log_name(self, key: str, structures: Sequence[str]) -> str:
        """`span_kl_0` with the structure's name in place of its number."""
        lead, _, number = key.rpartition("_")
        return f"{lead}_{structures[int(number)]}" if lead.startswith("span_") and number.isdigit() else key

    def receive_gradient_norms(self, norms: Mapping[str, Tensor]) -> None:
        """Compare SPAN's norm with DINO's."""
        if "dino" in norms:
            self.guard.update_norms(norms["span"], norms["dino"])

    @property
    def heads_pending(self) -> bool:
        """Whether heads are yet to be assigned."""
        return self.settings.assignment == "hungarian" and bool((self.structure_heads() < 0).any())

    def weight(self, progress: float) -> float:
        """Linear warm-up, held, then a cosine to the floor; times the guard's factor."""
        span = self.settings
        held = warmup_hold_schedule(span.weight, span.floor, span.warmup, progress)
        return held * float(self.guard.factor) if span.guard else held

    @torch.no_grad()
    def targets(self, multi_crop: MultiCropBatch) -> tuple[list[SpanTargets], Tensor]:
        """The prior in each view, and how many pairs count."""
        assert multi_crop.prior is not None
        stacks = [self._build_targets(multi_crop.globals_, multi_crop.prior, multi_crop.masked)]
        local = multi_crop.locals_
        if self.settings.local_views and local and min(local.geometry.grid) >= MIN_LOCAL_GRID_SIDE:
            stacks.append(self._build_targets(local, multi_crop.prior, None))
        return stacks, torch.stack([stack.gate.sum() for stack in stacks]).sum()

    def _build_targets(self, views: ViewBatch, prior: PriorMaps, masked: Tensor | None) -> SpanTargets:
        span = self.settings
        cover = compute_patch_coverage(prior.maps, views.geometry, views.index, views.theta)
        area = views.area
        if area is None:
            box = views.geometry.box
            area = send_to_device((box[:, 2] * box[:, 3]).astype(np.float32), cover.device)
        source = prior.maps.mean((-1, -2))[views.index] / area[:, None]
        gate = find_visible_pairs(cover, source, span.visible_share, span.visible_cover)
        visible = None
        if masked is not None:
            visible = ~masked[:, None]
            visible_cover = cover * visible
            gate &= visible_cover.sum(-1) >= span.visible_share * cover.sum(-1)
            cover = visible_cover
        return SpanTargets(cover, gate * prior.weight[views.index][:, None], visible)

    def loss(
        self, multi_crop: MultiCropBatch, targets: list[SpanTargets], count: Tensor | None, outputs: NetworkOutputs
    ) -> tuple[Tensor, Logs]:
        """Mean divergence of the pairs that count; 0 until heads are assigned."""
        assert count is not None
        views = outputs.views[: len(targets)]
        if self.heads_pending:
            self._record_costs(multi_crop.step, views[0], targets[0])
            return count.new_zeros(()), {}
        losses, comparisons = [], []
        for tokens, stack_targets in zip(views, targets, strict=True):
            x = self._compare_attention(tokens, stack_targets, self.heads)
            divergence = DIVERGENCES[self.settings.loss](x)
            comparisons.append((x, stack_targets.gate, divergence.detach()))
            if self.settings.mass_penalty:
                assert tokens.cls_mass is not None
                penalty = compute_mass_penalty(tokens.cls_mass[:, self.heads])
                divergence = divergence + self.settings.mass_penalty * penalty
            losses.append((divergence * stack_targets.gate).sum() / count)
        logs = self._structure_logs(*comparisons[0], multi_crop.detail)
        assert views[0].cls_mass is not None
        logs["cls_mass"] = all_reduce_sum(views[0].cls_mass[:, self.heads].detach().mean()) / world_size()
        return sum(losses[1:], losses[0]), logs

    def _compare_attention(self, tokens: Tokens, stack_targets: SpanTargets, heads: Tensor) -> AttentionComparison:
        assert tokens.cls_logits is not None
        span, cover, visible = self.settings, stack_targets.cover, stack_targets.visible
        target = build_attention_target(cover, span.epsilon, visible)
        return AttentionComparison(tokens.cls_logits[:, heads], cover, target, visible, span.entropy_floor)

    @torch.no_grad()
    def _structure_logs(self, x: AttentionComparison, gate: Tensor, divergence: Tensor, detail: bool) -> Logs:
        """Of each structure: divergence `kl`; now and then overlap and the target's entropy."""
        count = all_reduce_sum(gate.sum(0)).clamp_min(1e-6)
        values = {"kl": divergence if self.settings.loss == "kl" else kl_divergence(x)}
        if detail:
            values["iou60"] = compute_top_mass_iou(x)
            values["entropy"] = torch.special.entr(x.target).sum(-1)
        logs = {}
        for name, value in values.items():
            for k, mean in enumerate(all_reduce_sum((value * gate).sum(0)) / count):
                logs[f"span_{name}_{k}"] = mean
        if self.settings.guard:
            logs["span_guard"] = self.guard.factor.clone()
        return logs

    @torch.no_grad()
    def _record_costs(self, step: int, tokens: Tokens, stack_targets: SpanTargets) -> None:
        """Store the divergence of every head from every structure."""
        assert tokens.cls_logits is not None
        costs = []
        for head in range(tokens.cls_logits.shape[1]):
            same_head = torch.full_like(self.heads, head)
            x = self._compare_attention(tokens, stack_targets, same_head)
            costs.append((kl_divergence(x) * stack_targets.gate).sum(0))
        self._step_costs.append((step, torch.stack(costs, 1), stack_targets.gate.sum(0)))

    @torch.no_grad()
    def commit_step(self) -> None:
        """Add up divergences; after the first steps assign heads, once and for all."""
        if self._step_costs and self.heads_pending:
            self.cost += all_reduce_sum(torch.stack([cost for _, cost, _ in self._step_costs]).sum(0))
            self.pairs += all_reduce_sum(torch.stack([pairs for _, _, pairs in self._step_costs]).sum(0))
            mean = self.cost / self.pairs.clamp_min(1e-6)[:, None]
            # A step that is not finite is taken back after this call where the device decides on it.
            if self._step_costs[-1][0] + 1 >= self.assign_at and bool(torch.isfinite(mean).all()):
                self.heads.copy_(torch.tensor(find_best_assignment(mean)))
        self.discard_step()

    def discard_step(self) -> None:
        """Drop the step's divergences."""
        self._step_costs.clear()
