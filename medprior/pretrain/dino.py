"""Self-distillation without labels: DINO (Caron et al. 2021) and its two teacher normalisations."""

from __future__ import annotations

import torch
from torch import Tensor

from medprior.pretrain.ranks import total, world


def dino_loss(student: Tensor, teacher: Tensor, student_temperature: float) -> Tensor:
    """Cross-entropy of student views against the teacher's other views.

    Args:
        student: scores [V, B, K]; the first G views are the global ones the teacher saw too.
        teacher: probabilities [G, B, K], without gradient.
        student_temperature: softmax temperature of the student.

    Returns:
        Scalar: mean over ordered pairs (teacher view g, student view v != g) and images. At uniform
        collapse it is ln K.
    """
    log_p = (student.float() / student_temperature).log_softmax(-1)
    cross = -torch.einsum("gbk,vbk->gvb", teacher, log_p).mean(-1)
    pairs = torch.ones_like(cross) - torch.eye(*cross.shape, device=cross.device)
    return (cross * pairs).sum() / pairs.sum()


def centred_softmax(scores: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """Teacher probabilities softmax((scores - centre) / temperature), float32, same shape."""
    return ((scores.float() - centre) / temperature).softmax(-1)


def updated_centre(centre: Tensor, scores: Tensor, momentum: float) -> Tensor:
    """The centre's moving average of the batch-mean teacher scores [..., K] of all processes."""
    mean = total(scores.float().flatten(0, -2).mean(0)) / world()
    return centre * momentum + mean * (1 - momentum)


@torch.no_grad()
def sinkhorn(scores: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Teacher probabilities by Sinkhorn-Knopp (Caron et al. 2020): prototypes used evenly.

    Args:
        scores: [B, K] of one process; the processes' batches are balanced together.
        temperature: softmax temperature.
        iterations: rounds of prototype, then sample normalisation.

    Returns:
        float32 [B, K], rows summing to 1.
    """
    log_q = scores.float() / temperature
    top = log_q.max()
    if world() > 1:
        torch.distributed.all_reduce(top, torch.distributed.ReduceOp.MAX)
    q = (log_q - top).exp()
    for _ in range(iterations):
        q = q / (total(q.sum(0, keepdim=True)) * q.shape[1] + 1e-12)
        q = q / (q.sum(1, keepdim=True) * len(q) * world() + 1e-12)
    return q / q.sum(1, keepdim=True).clamp_min(1e-12)


def entropy(probabilities: Tensor) -> Tensor:
    """Mean entropy of rows [..., K], nats: ln K is uniform collapse, 0 one-prototype collapse."""
    mean: Tensor = torch.special.entr(probabilities).sum(-1).mean()
    return mean
