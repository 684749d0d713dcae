"""Student, teacher and objectives: the losses of a training step, without an engine."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medprior.networks.vit import disable_drop_path
from medprior.pretrain.distributed import all_gather_rows, all_reduce_sum, world_size
from medprior.pretrain.network import PretrainNetwork
from medprior.pretrain.objectives.objective import Logs, MultiCropBatch, NetworkOutputs, Objective, isolate_rng
from medprior.pretrain.objectives.registry import list_objectives
from medprior.pretrain.settings import PretrainSettings

BatchTargets = dict[str, tuple[Any, Tensor | None]]
"""An objective's targets for a multi-crop batch, and its mean count of terms."""


class Learner(nn.Module):
    """The state that training changes: student, teacher, and the objectives' buffers.

    Args:
        settings: resolved settings.
        heads: head of each structure of the prior; empty without a prior.
        state: weights that the backbone starts from, or None.
    """

    def __init__(
        self, settings: PretrainSettings, heads: Sequence[int] = (), state: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        self.student = PretrainNetwork(settings)
        if state is not None:
            self.student.backbone.load_state_dict(state)
        self.objectives = build_objectives(settings, heads)
        for name, objective in self.named_objectives():
            with isolate_rng(settings.seed, name):
                self.student.parts.update(objective.parts())
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        disable_drop_path(self.teacher)  # as in DINO's code: only the student drops branches
        for name, objective in self.named_objectives():
            with isolate_rng(settings.seed, f"{name}, student only"):
                self.student.parts.update(objective.student_parts())

    def named_objectives(self) -> Iterator[tuple[str, Objective]]:
        """The objectives, in their order."""
        for name, objective in self.objectives.items():
            assert isinstance(objective, Objective)
            yield name, objective

    def structure_heads(self) -> Tensor:
        """Head of each structure, int64 [K]; -1 where none is assigned yet."""
        heads = [objective.structure_heads() for _, objective in self.named_objectives()]
        return next((x for x in heads if x is not None), torch.empty(0, dtype=torch.long))

    def sample_masks(self, step: int, part: slice, whole: int, grid: tuple[int, int]) -> Tensor | None:
        """Masked patches of the global views, bool [2B, N]; None where no objective masks them."""
        masks = [objective.sample_masks(step, part, whole, grid) for _, objective in self.named_objectives()]
        return next((mask for mask in masks if mask is not None), None)

    def sample_kept_patches(self, step: int, part: slice, whole: int, grid: tuple[int, int]) -> Tensor | None:
        """Patches of global view 2 that the student encodes, int64 [B, n]; None where no objective drops any."""
        kept = [objective.sample_kept_patches(step, part, whole, grid) for _, objective in self.named_objectives()]
        return next((patches for patches in kept if patches is not None), None)

    def weights(self, progress: float) -> dict[str, float]:
        """Factor of every loss at `progress` of the run."""
        return {name: objective.weight(progress) for name, objective in self.named_objectives()}

    def build_targets(self, multi_crops: Sequence[MultiCropBatch]) -> list[BatchTargets]:
        """Targets of the parts of a batch, and the number of terms of each loss.

        Counts are taken over all parts of all processes, so that a part with few terms weighs little and the mean of
        the parts' losses is the loss of the whole batch.
        """
        prepared_targets: list[BatchTargets] = [{} for _ in multi_crops]
        for name, objective in self.named_objectives():
            targets_and_counts = [objective.targets(multi_crop) for multi_crop in multi_crops]
            counts = [count for _, count in targets_and_counts if count is not None]
            mean = None
            if counts:
                parts = world_size() * len(multi_crops)
                mean = all_reduce_sum(torch.stack(counts).sum()).clamp_min(1e-6) / parts
            for prepared, (targets, _) in zip(prepared_targets, targets_and_counts, strict=True):
                prepared[name] = (targets, mean)
        return prepared_targets

    def compute_losses(
        self, student: nn.Module, multi_crop: MultiCropBatch, prepared: BatchTargets | None = None
    ) -> tuple[dict[str, Tensor], Logs]:
        """Every objective's loss for one multi-crop batch, and its logs.

        Args:
            student: the student, perhaps wrapped for several processes.
            multi_crop: views, prior and masks of a batch or of a part of it.
            prepared: of `self.build_targets`; by default the multi-crop batch is the whole batch.
        """
        if prepared is None:
            (prepared,) = self.build_targets([multi_crop])
        outputs = self._run_networks(student, multi_crop)
        losses: dict[str, Tensor] = {}
        logs: Logs = {}
        for name, objective in self.named_objectives():
            targets, count = prepared[name]
            losses[name], objective_logs = objective.loss(multi_crop, targets, count, outputs)
            logs |= objective_logs
        if not any(objective.reads_tokens for _, objective in self.named_objectives()):
            # Several processes wait for the gradient of every parameter: those behind the last attention get 0.
            losses[name] = losses[name] + 0.0 * outputs.views[0].cls.float().sum()
        with torch.no_grad():
            unit = nn.functional.normalize(outputs.views[0].cls[: multi_crop.size].float(), dim=-1)
            unit = all_gather_rows(unit)
            logs["feature_std"] = unit.std(0).mean() * unit.shape[1] ** 0.5
        return losses, logs

    def _run_networks(self, student: nn.Module, multi_crop: MultiCropBatch) -> NetworkOutputs:
        rows = max((objective.cls_row_stacks for _, objective in self.named_objectives()), default=0)
        pixels = [stack.pixels for stack in multi_crop.stacks]
        views, scores = student(pixels, rows, multi_crop.masked, multi_crop.kept)
        teacher_tokens, teacher_scores = None, None
        if any(objective.needs_teacher for _, objective in self.named_objectives()):
            with torch.no_grad():
                (teacher_tokens,), teacher_scores = self.teacher([multi_crop.globals_.pixels], 0)
        return NetworkOutputs(
            self.student, self.teacher, views, scores, teacher_tokens, teacher_scores, self.structure_heads()
        )

    def commit_step(self) -> None:
        """Commit the step in every objective."""
        for _, objective in self.named_objectives():
            objective.commit_step()

    def discard_step(self) -> None:
        """Discard the step in every objective."""
        for _, objective in self.named_objectives():
            objective.discard_step()

    @torch.no_grad()
    def update_teacher(self, momentum: float, finite: Tensor | None = None) -> None:
        """Move the teacher towards the student: teacher = m * teacher + (1 - m) * student.

        Args:
            momentum: m.
            finite: bool [] on the device; where it is false the teacher stays. None: it moves.
        """
        students = dict(self.student.named_parameters())
        pairs = [(p, students[name]) for name, p in self.teacher.named_parameters()]
        teacher: list[Tensor] = [pair[0] for pair in pairs]
        student: list[Tensor] = [pair[1] for pair in pairs]
        if finite is None:
            torch._foreach_lerp_(teacher, student, 1 - momentum)
            return
        differences = torch._foreach_sub(student, teacher)
        torch._foreach_mul_(differences, (1 - momentum) * finite)
        torch._foreach_add_(teacher, differences)


def build_objectives(settings: PretrainSettings, heads: Sequence[int]) -> nn.ModuleDict:
    """The objectives of a run whose weight is above 0, by name, in the registry's order.

    Args:
        settings: resolved settings.
        heads: head of the last block for each structure of the prior, -1 where it is yet to be assigned; empty without
            a prior.
    """
    objectives = {name: added.create(settings, heads) for name, added in list_objectives().items()}
    return nn.ModuleDict({name: objective for name, objective in objectives.items() if objective is not None})
