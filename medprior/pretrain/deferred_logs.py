"""Logged values of a step that are read after the host has gone on to the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor


class DeferredLogs(Mapping[str, float]):
    """A mapping whose values are on their way from the device; the first look at one waits for all.

    Args:
        names: keys of `values`.
        values: float32 [n] on the device.
        complete: called once, with the values; returns what is logged.
    """

    def __init__(
        self, names: Sequence[str], values: Tensor, complete: Callable[[dict[str, float]], dict[str, float]]
    ) -> None:
        cuda = values.device.type == "cuda"
        self._names, self._complete = names, complete
        self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=cuda)
        self._host.copy_(values, non_blocking=True)
        self._arrival = torch.cuda.Event() if cuda else None  # type: ignore[no-untyped-call]
        if self._arrival is not None:
            self._arrival.record()
        self._logs: dict[str, float] | None = None

    def read(self) -> dict[str, float]:
        """All values; waits for the device unless they have arrived."""
        if self._logs is None:
            if self._arrival is not None:
                self._arrival.synchronize()
            self._logs = self._complete(dict(zip(self._names, self._host.tolist(), strict=True)))
        return self._logs

    def __getitem__(self, name: str) -> float:
        return self.read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.read())

    def __len__(self) -> int:
        return len(self.read())
