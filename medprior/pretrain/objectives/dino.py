"""Self-distillation without labels: DINO (Caron et al. 2021) and its two teacher normalisations.

Source: arXiv 2104.14294 and the authors' code (facebookresearch/dino, `main_dino.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from medprior.errors import TrainingCollapsed
from medprior.pretrain.distributed import all_reduce_sum, count_all_rows, world_size
from medprior.pretrain.objectives.objective import Logs, MultiCropBatch, NetworkOutputs, Objective
from medprior.pretrain.settings import PretrainSettings

HEALTHY_ENTROPY_RANGE = (0.02, 0.98)
"""Mean entropy of the teacher over ln K, outside of which a run has collapsed (our choice)."""


def dino_loss(student: Tensor, teacher: Tensor, student_temperature: float) -> Tensor:
    """Cross-entropy of student views against the teacher's other views.

    Args:
        student: scores [V, B, K]; the first G views are the global ones the teacher saw too.
        teacher: probabilities [G, B, K], without gradient.
        student_temperature: softmax temperature of the student.

    Returns:
        Scalar: mean over ordered pairs (teacher view g, student view v != g) and images. At uniform collapse it is ln
            K.
    """
    with torch.autocast(student.device.type, enabled=False):
        log_p = (student.float() / student_temperature).log_softmax(-1)
        cross = -torch.einsum("gbk,vbk->gvb", teacher.float(), log_p).mean(-1)
    pairs = torch.ones_like(cross) - torch.eye(*cross.shape, device=cross.device)
    return (cross * pairs).sum() / pairs.sum()


def centred_softmax(scores: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """Teacher probabilities softmax((scores - centre) / temperature), float32, same shape."""
    return ((scores.float() - centre) / temperature).softmax(-1)


def update_centre(centre: Tensor, mean: Tensor, momentum: float) -> Tensor:
    """The centre's moving average [K], moved towards the mean teacher scores [K] of a step."""
    return centre * momentum + mean * (1 - momentum)


@torch.no_grad()
def apply_sinkhorn(scores: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Teacher probabilities by Sinkhorn-Knopp (Caron et al. 2020): prototypes used evenly.

    Args:
        scores: [B, K] of one process; the processes' rows, perhaps differently many, are balanced together.
        temperature: softmax temperature.
        iterations: rounds of prototype, then sample normalisation.

    Returns:
        float32 [B, K], rows summing to 1.
    """
    log_q = scores.float() / temperature
    top = log_q.max() if log_q.numel() else log_q.new_tensor(-torch.inf)
    if world_size() > 1:
        torch.distributed.all_reduce(top, torch.distributed.ReduceOp.MAX)
    rows = count_all_rows(log_q)
    q = (log_q - top).exp()
    for _ in range(iterations):
        q = q / (all_reduce_sum(q.sum(0, keepdim=True)) * q.shape[1] + 1e-12)
        q = q / (q.sum(1, keepdim=True) * rows + 1e-12)
    return q / q.sum(1, keepdim=True).clamp_min(1e-12)


def compute_mean_entropy(probabilities: Tensor) -> Tensor:
    """Mean entropy of rows [..., K], nats: ln K is uniform collapse, 0 one-prototype collapse."""
    mean: Tensor = torch.special.entr(probabilities).sum(-1).mean()
    return mean


class DinoObjective(Objective):
    """DINO on the CLS token; its head is the networks' own."""

    name = "dino"
    needs_teacher = True
    centre: Tensor

    def __init__(self, settings: PretrainSettings) -> None:
        super().__init__()
        assert settings.dino.prototypes is not None
        self.run, self.settings = settings, settings.dino
        self.register_buffer("centre", torch.zeros(settings.dino.prototypes))
        self._step_means: list[Tensor] = []

    def weight(self, progress: float) -> float:
        """Constant."""
        return self.settings.weight

    def loss(
        self, multi_crop: MultiCropBatch, targets: None, count: Tensor | None, outputs: NetworkOutputs
    ) -> tuple[Tensor, Logs]:
        """Cross-entropy between views; logs the teacher's entropies over all processes."""
        assert outputs.scores is not None
        assert outputs.teacher_scores is not None
        teacher = self._teacher_probabilities(outputs.teacher_scores, multi_crop.size, multi_crop.step)
        student = outputs.scores.reshape(-1, multi_crop.size, outputs.scores.shape[-1])
        with torch.no_grad():
            mean = all_reduce_sum(teacher.flatten(0, 1).mean(0)) / world_size()
            logs = {
                "teacher_entropy": all_reduce_sum(compute_mean_entropy(teacher)) / world_size(),
                "mean_entropy": compute_mean_entropy(mean[None]),
            }
        return dino_loss(student, teacher, self.settings.student_temperature), logs

    @torch.no_grad()
    def _teacher_probabilities(self, scores: Tensor, size: int, step: int = 0) -> Tensor:
        """Teacher probabilities [2, B, K]; each view is balanced by itself."""
        temperature = self.run.compute_teacher_temperature(step)
        if self.settings.teacher == "sinkhorn":
            halves = scores.reshape(2, size, -1)
            return torch.stack([apply_sinkhorn(half, temperature) for half in halves])
        self._step_means.append(scores.float().flatten(0, -2).mean(0))
        return centred_softmax(scores, self.centre, temperature).reshape(2, size, -1)

    def check_health(self, rows: Sequence[Mapping[str, float]], step: int) -> None:
        """TrainingCollapsed where the teacher's entropy is at ln K, or at 0, in all of `rows`."""
        assert self.settings.prototypes is not None
        limit = math.log(self.settings.prototypes)
        shares = [row["teacher_entropy"] / limit for row in rows if "teacher_entropy" in row]
        if not shares:
            return
        uniform = min(shares) >= HEALTHY_ENTROPY_RANGE[1]
        if uniform or max(shares) <= HEALTHY_ENTROPY_RANGE[0]:
            raise TrainingCollapsed(
                f"collapsed: teacher entropy is {shares[-1]:.2f} of ln K at step {step}",
                fix="lower dino.teacher_temperature or dino.prototypes, or set dino.batch_norm=true"
                if uniform
                else "lower optimiser.lr or raise dino.teacher_momentum",
            )

    @torch.no_grad()
    def commit_step(self) -> None:
        """Move the centre towards the step's mean scores."""
        if self._step_means:
            mean = all_reduce_sum(torch.stack(self._step_means).mean(0)) / world_size()
            self.centre.copy_(update_centre(self.centre, mean, self.settings.centre_momentum))
        self.discard_step()

    def discard_step(self) -> None:
        """Leave the centre where it is."""
        self._step_means.clear()
