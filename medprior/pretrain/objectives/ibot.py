"""iBOT: predicts the teacher's prototypes of masked patches (Zhou et al. 2022, arXiv 2111.07832).

Weight, masks and the mean are those of DINOv2's code (arXiv 2304.07193; `ssl_meta_arch.py`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from medprior.pretrain.distributed import all_reduce_sum, world_size
from medprior.pretrain.network import PretrainNetwork
from medprior.pretrain.objectives.dino import apply_sinkhorn, centred_softmax, update_centre
from medprior.pretrain.objectives.masking import sample_patch_masks
from medprior.pretrain.objectives.objective import Logs, MultiCropBatch, NetworkOutputs, Objective
from medprior.pretrain.objectives.projection_head import build_projection_head
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.batches import MASK_STREAM


def ibot_loss(student: Tensor, teacher: Tensor, view: Tensor, views: int, tau: float) -> Tensor:
    """Cross-entropy at masked patches.

    Args:
        student: scores [M, K] at the masked patches of all views.
        teacher: probabilities [M, K] at the same patches, without gradient.
        view: int64 [M], the view of each patch.
        views: number of views, masked or not.
        tau: softmax temperature of the student.

    Returns:
        Scalar: mean over a view's masked patches, then over all views, of which those without a mask count as 0
            (confirmed).
    """
    log_p = (student.float() / tau).log_softmax(-1)
    losses = -(teacher * log_p).sum(-1)
    # Not bincount, for which a GPU must be waited for.
    masked_count = view.new_zeros(views).index_add_(0, view, torch.ones_like(view)).clamp_min(1)
    return (losses / masked_count[view]).sum() / views


class IbotObjective(Objective):
    """iBOT on the global views.

    With it the student's global views are masked for every objective, as in DINOv2: one forward pass, not two. SPAN,
    SAR and LOCA then read visible patches alone (our choice).
    """

    name = "ibot"
    needs_teacher = True
    centre: Tensor

    def __init__(self, settings: PretrainSettings) -> None:
        super().__init__()
        assert settings.dino.prototypes is not None
        self.settings = settings
        self.register_buffer("centre", torch.zeros(settings.dino.prototypes))
        self._step_sums: list[tuple[Tensor, Tensor]] = []

    def weight(self, progress: float) -> float:
        """Constant."""
        return self.settings.ibot.weight

    def parts(self) -> dict[str, nn.Module]:
        """With `separate_head`: the head of the patches."""
        return {"ibot": build_projection_head(self.settings)} if self.settings.ibot.separate_head else {}

    def sample_masks(self, step: int, part: slice, whole: int, grid: tuple[int, int]) -> Tensor:
        """Masks of a part of the step's batch: bool [2B, N], from seed and step alone."""
        rng = np.random.default_rng([self.settings.seed, MASK_STREAM, step])
        masks = sample_patch_masks(rng, 2 * whole, grid, self.settings.ibot)
        return torch.from_numpy(masks.reshape(2, whole, -1)[:, part].reshape(-1, masks.shape[1]))

    def loss(
        self, multi_crop: MultiCropBatch, targets: None, count: Tensor | None, outputs: NetworkOutputs
    ) -> tuple[Tensor, Logs]:
        """Loss at masked patches; logs how many are masked, over all processes."""
        assert multi_crop.masked is not None
        assert outputs.teacher_tokens is not None
        positions = multi_crop.masked_positions
        if positions is None:
            positions = multi_crop.masked.flatten().nonzero()[:, 0]
        patches = multi_crop.masked.shape[1]
        view, patch = positions // patches, positions % patches
        student = self._score_patches(outputs.student, outputs.views[0].patches[view, patch])
        with torch.no_grad():
            teacher_scores = self._score_patches(outputs.teacher, outputs.teacher_tokens.patches[view, patch])
            teacher = self._teacher_probabilities(teacher_scores, multi_crop.step)
        loss = ibot_loss(student, teacher, view, len(multi_crop.masked), self.settings.dino.student_temperature)
        return loss, {"hidden_share": all_reduce_sum(multi_crop.masked.float().mean()) / world_size()}

    def _score_patches(self, net: PretrainNetwork, patches: Tensor) -> Tensor:
        head = net.parts["ibot"] if self.settings.ibot.separate_head else net.head
        assert head is not None
        scores: Tensor = head(patches)
        return scores

    def _teacher_probabilities(self, scores: Tensor, step: int = 0) -> Tensor:
        temperature = self.settings.compute_teacher_temperature(step)
        if self.settings.ibot.teacher == "sinkhorn":
            return apply_sinkhorn(scores, temperature)
        count = torch.full((), float(len(scores)), device=scores.device)
        self._step_sums.append((scores.float().sum(0), count))
        return centred_softmax(scores, self.centre, temperature)

    @torch.no_grad()
    def commit_step(self) -> None:
        """Move the centre towards the mean over all masked patches of the step."""
        if self._step_sums:
            sums = all_reduce_sum(torch.stack([step[0] for step in self._step_sums]).sum(0))
            count = all_reduce_sum(torch.stack([step[1] for step in self._step_sums]).sum())
            momentum = self.settings.dino.centre_momentum
            moved = update_centre(self.centre, sums / count.clamp_min(1), momentum)
            self.centre.copy_(torch.where(count > 0, moved, self.centre))
        self.discard_step()

    def discard_step(self) -> None:
        """Leave the centre where it is."""
        self._step_sums.clear()
