"""Sums and gathers over the processes of a run; the identity in a single process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function

from medprior.errors import ConfigError
from medprior.locks import LOCK_FILE, hold_lock
from medprior.workers.launched import read_launched_processes


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


@contextmanager
def join_launched_processes() -> Iterator[None]:
    """Make the processes that torchrun started one run inside the context; nothing without torchrun.

    Each takes the GPU of its LOCAL_RANK, by NCCL, or the CPU, by gloo. The context ends together in all processes, so
    that none closes the connections of another; after an error or a signal it ends at once.

    Raises:
        ConfigError: RANK and WORLD_SIZE are set, and not where the processes meet.
    """
    if read_launched_processes()[1] == 1 or distributed.is_initialized():
        yield
        return
    if not {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        raise ConfigError(
            "one of several processes does not know where they meet", where="MASTER_ADDR, MASTER_PORT",
            fix="start them with `torchrun -m medprior pretrain`, or unset WORLD_SIZE",
        )  # fmt: skip
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def build_host_group() -> distributed.ProcessGroup | None:
    """A gloo group of all processes, whose collectives wait for no device; every process calls it. None for one."""
    if world_size() == 1:
        return None
    group = distributed.new_group(backend="gloo")
    return group if isinstance(group, distributed.ProcessGroup) else None


def find_largest_number(number: int, group: distributed.ProcessGroup | None) -> int:
    """The largest of the processes' numbers, known to all of them.

    Args:
        number: of this process.
        group: of `build_host_group`. By NCCL the host would wait until its device has done all that is queued.
    """
    if group is None:
        return number
    largest = torch.tensor(number)
    distributed.all_reduce(largest, distributed.ReduceOp.MAX, group)
    return int(largest)


def wait_for_processes() -> None:
    """Return when every process of the run has come here."""
    if world_size() > 1:
        distributed.barrier()


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
