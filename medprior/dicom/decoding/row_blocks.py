"""A large picture piece by piece: what is made of it on the way stays small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

BLOCK_PIXELS = 2**18


def iter_row_blocks(array: NDArray[Any]) -> Iterator[slice]:
    """Slices of whole rows with about 262 144 values each, or one row."""
    step = max(1, BLOCK_PIXELS // max(1, array[:1].size))
    for start in range(0, len(array), step):
        yield slice(start, start + step)
