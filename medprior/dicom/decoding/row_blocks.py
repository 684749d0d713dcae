"""Iterates over a large picture in blocks of rows, so that temporary arrays stay small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

BLOCK_PIXELS = 2**18


def iter_row_blocks(array: NDArray[Any]) -> Iterator[slice]:
    """Yield slices of whole rows with about 262 144 values each, at least one row."""
    step = max(1, BLOCK_PIXELS // max(1, array[:1].size))
    for start in range(0, len(array), step):
        yield slice(start, start + step)
