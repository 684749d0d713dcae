"""Norms of the objectives' gradients at the last block, and the limit on SPAN's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from medprior.pretrain.distributed import all_reduce_sum, world_size

NORM_MOMENTUM = 0.9
MAX_NORM_RATIO = 0.5


def compute_gradient_norms(
    losses: Mapping[str, Tensor], weights: Mapping[str, float], parameters: Sequence[nn.Parameter]
) -> dict[str, Tensor]:
    """Norm of each objective's weighted gradient on `parameters`, mean over the processes.

    The graph is kept for the backward pass that follows.
    """
    norms = {}
    for name, loss in losses.items():
        flat = torch.zeros((), device=loss.device)
        if loss.requires_grad:
            parts = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            gradients = [part.float().flatten() for part in parts if part is not None]
            flat = torch.cat(gradients) if gradients else flat
        norms[name] = (all_reduce_sum(flat) / world_size()).norm() * weights[name]
    return norms


class GradientGuard(nn.Module):
    """Halves SPAN's weight where its gradient is over half of DINO's (our choice).

    Both are weighted gradients at the last block, as moving averages; of unweighted ones the comparison would not
    change by halving. After a halving SPAN's average is halved too.

    Attributes:
        factor: of SPAN's weight, a power of 1/2. norms: averages of SPAN's and DINO's norm.
    """

    factor: Tensor
    norms: Tensor
    looks: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(()))
        self.register_buffer("norms", torch.zeros(2))
        self.register_buffer("looks", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update_norms(self, span: Tensor, dino: Tensor) -> None:
        """Update both averages, and halve the factor if SPAN's is too large."""
        latest = torch.stack([span, dino]).to(self.norms)
        # On the device throughout: a condition of Python's would wait for it.
        averages = torch.where(self.looks > 0, NORM_MOMENTUM * self.norms + (1 - NORM_MOMENTUM) * latest, latest)
        finite = torch.isfinite(latest).all()  # a step that is not finite changes nothing
        scale = torch.where(finite & (averages[0] > MAX_NORM_RATIO * averages[1]), 0.5, 1.0)
        self.norms.copy_(torch.where(finite, torch.stack([averages[0] * scale, averages[1]]), self.norms))
        self.looks += finite
        self.factor *= scale
