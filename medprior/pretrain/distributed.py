"""Sums and gathers over the processes of a run; the identity in a single process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function

from medprior.locks import LOCK_FILE, hold_lock


def world_size() -> int:
    """Number of processes in the run."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def process_rank() -> int:
    """Index of this process."""
    return distributed.get_rank() if distributed.is_initialized() else 0


@contextmanager
def hold_training_lock(folder: Path, noun: str) -> Iterator[None]:
    """Hold the lock of a result folder for the block; of several processes only the first one takes it.

    Raises:
        MedpriorError: another run holds it.
    """
    if process_rank() > 0:
        yield
        return
    with hold_lock(folder / LOCK_FILE, noun):
        yield


class _AllReduceSum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Sum over the processes."""
        x = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Each process's loss depends on each part of the sum."""
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient


class _AllGatherRows(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Rows of all processes."""
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(world_size())]
        distributed.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Own rows of the gradient, summed over the processes."""
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient[process_rank() * ctx.rows : (process_rank() + 1) * ctx.rows]


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum of a tensor over the processes, attached to the graph."""
    if world_size() == 1:
        return x
    result: Tensor = _AllReduceSum.apply(x)
    return result


def all_gather_rows(x: Tensor) -> Tensor:
    """Rows of all processes, equally many each, rank after rank, attached to the graph."""
    if world_size() == 1:
        return x
    result: Tensor = _AllGatherRows.apply(x.contiguous())
    return result


def count_all_rows(x: Tensor) -> Tensor | int:
    """Number of rows of a tensor over all processes, which may hold differently many."""
    if world_size() == 1:
        return max(len(x), 1)
    return all_reduce_sum(torch.tensor(float(len(x)), device=x.device)).clamp_min(1)


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
        count = count_all_rows(x)
        x = x.float()
        mean = all_reduce_sum(x.sum(0)) / count
        variance = all_reduce_sum((x - mean).square().sum(0)) / count
        return (x - mean) * (variance + 1e-5).rsqrt() * self.weight + self.bias
