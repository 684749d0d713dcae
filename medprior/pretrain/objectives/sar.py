"""SAR: concentrates the free heads' attention in few connected regions.

Source: arXiv 2206.04636 and the authors' code (helia95/SAR) for loss, last block, logits and schedule.

What differs on purpose: there the loss stands beside supervised cross-entropy (as `sar_weight` of fine-tuning does
here); in pretraining it stands beside DINO's, on both global views of the student. It is on free heads alone, since it
is least at one region and two lungs are two; without SPAN all heads are free, as there. The last block keeps its skip
and norm unless the recipe `nosn` removes them, as their command does.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from medprior.networks.views import compute_patch_coverage
from medprior.pretrain.distributed import all_reduce_sum, world_size
from medprior.pretrain.objectives.components import Connectivity
from medprior.pretrain.objectives.head_assignment import select_heads
from medprior.pretrain.objectives.objective import Logs, MultiCropBatch, NetworkOutputs, Objective
from medprior.pretrain.objectives.spatial_entropy import compute_spatial_entropy
from medprior.pretrain.schedules import warmup_cosine_schedule
from medprior.pretrain.settings import PretrainSettings


def sar_loss(
    logits: Tensor,
    grid: tuple[int, int],
    connectivity: Connectivity = 8,
    *,
    visible: Tensor | None = None,
    allowed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean spatial entropy over images and heads.

    Args:
        logits: CLS scores [B, H, N] of the heads to regularise.
        grid: (rows, columns) of the patches.
        connectivity: 8 or 4.
        visible: bool [B, N], patches that count, None for all.
        allowed: [B], entropy that costs nothing (our choice), None for 0.

    Returns:
        Scalar, 0 without heads; and the mean entropy itself, detached.
    """
    if logits.shape[1] == 0:
        return logits.sum() * 0, logits.new_zeros(())
    entropy = compute_spatial_entropy(logits, grid, connectivity, None if visible is None else visible[:, None])
    excess = entropy if allowed is None else (entropy - allowed[:, None]).relu()
    return excess.mean(), entropy.detach().mean()


def list_free_heads(heads: int, assigned: Iterable[int]) -> list[int]:
    """Heads of the last block that follow no structure."""
    assigned_set = set(assigned)
    return [head for head in range(heads) if head not in assigned_set]


class SarObjective(Objective):
    """SAR on both global views; of masked ones, on the patches that are visible (our choice)."""

    name = "sar"
    reads_tokens = False
    scheduled = True
    cls_row_stacks = 1

    def __init__(self, settings: PretrainSettings) -> None:
        super().__init__()
        self.settings = settings.sar
        self.warmup = settings.compute_warmup_share(settings.sar.warmup, settings.sar.warmup_epochs)

    def weight(self, progress: float) -> float:
        """Linear warm-up, then a cosine to 0 (confirmed; there per epoch, here per step)."""
        return warmup_cosine_schedule(self.settings.weight, 0.0, self.warmup, progress)

    @torch.no_grad()
    def targets(self, multi_crop: MultiCropBatch) -> tuple[Tensor | None, None]:
        """With `excess`: the entropy of the structures' own regions in each view, [2B]."""
        if not self.settings.excess:
            return None, None
        assert multi_crop.prior is not None
        views = multi_crop.globals_
        cover = compute_patch_coverage(multi_crop.prior.maps, views.geometry, views.index, views.theta).amax(1)
        return compute_spatial_entropy(cover, views.geometry.grid, self.settings.connectivity), None

    def loss(
        self, multi_crop: MultiCropBatch, targets: Tensor | None, count: Tensor | None, outputs: NetworkOutputs
    ) -> tuple[Tensor, Logs]:
        """Mean over views and free heads; logs the entropy over all processes."""
        tokens = outputs.views[0]
        assert tokens.cls_logits is not None
        free = list_free_heads(tokens.cls_logits.shape[1], outputs.structure_heads.tolist())
        visible = None if multi_crop.masked is None else ~multi_crop.masked
        loss, plain = sar_loss(
            select_heads(tokens.cls_logits, free), tokens.grid, self.settings.connectivity,
            visible=visible, allowed=targets,
        )  # fmt: skip
        return loss, {"spatial_entropy": all_reduce_sum(plain) / world_size()}
