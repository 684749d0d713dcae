"""What the processes of one run share; every function is the identity in a single process."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn import functional as collective


def world() -> int:
    """Number of processes in the run."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Index of this process."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def total(x: Tensor) -> Tensor:
    """Sum of a tensor over the processes, attached to the graph."""
    if world() == 1:
        return x
    result: Tensor = collective.all_reduce(x)  # type: ignore[no-untyped-call]
    return result


def gathered(x: Tensor) -> Tensor:
    """Rows of all processes, rank after rank, attached to the graph."""
    if world() == 1:
        return x
    parts = collective.all_gather(x.contiguous())  # type: ignore[no-untyped-call]
    return torch.cat(list(parts))


class BatchStandardise(nn.Module):
    """Batch normalisation without running statistics, over the batches of all processes.

    `torch.nn.SyncBatchNorm` does so on CUDA only; two gloo processes must give the loss of one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise features [B, D] over the global batch."""
        count = len(x) * world()
        x = x.float()
        mean = total(x.sum(0)) / count
        variance = total((x - mean).square().sum(0)) / count
        return (x - mean) * (variance + 1e-5).rsqrt() * self.weight + self.bias
