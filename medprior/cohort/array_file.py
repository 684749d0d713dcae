"""Reads rows of a `.npy` file by position, for arrays that are larger than the memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.errors import InputMissing

Rows = slice | NDArray[np.intp]


def list_row_numbers(rows: Rows, count: int) -> Sequence[int]:
    """Numbers of the selected rows of `count`, from 0; the cost does not grow with `count`.

    Raises:
        IndexError: there is no such row.
    """
    numbers = range(count)
    return numbers[rows] if isinstance(rows, slice) else [numbers[row] for row in rows.tolist()]


class ArrayFile:
    """The rows of a `.npy` file, read on request.

    Unlike the pages of a memory map, what was read does not stay in the process. The file stays the one that was
    opened, even if another one replaces it; processes that the object is sent to open it anew.

    Args:
        path: a `.npy` file in C order.

    Raises:
        ValueError: not such a file.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        header = np.load(self.path, mmap_mode="r", allow_pickle=False)
        if not isinstance(header, np.memmap) or not header.flags.c_contiguous or not header.ndim:
            raise ValueError("not an array in C order")
        self.shape: tuple[int, ...] = header.shape
        self.dtype: np.dtype[Any] = header.dtype
        self._start = int(header.offset)
        self._row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        self._file = self.path.open("rb", buffering=0)

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[type[ArrayFile], tuple[Path]]:
        return type(self), (self.path,)

    def read(self, rows: Rows) -> NDArray[Any]:
        """The rows of a slice, or of indices in any order; [m, ...] of the file's type, a copy.

        Raises:
            IndexError: there is no such row.
            InputMissing: the file has become shorter.
        """
        if isinstance(rows, slice) and rows.indices(len(self))[2] == 1:
            start, stop, _ = rows.indices(len(self))
            result = np.empty((max(stop - start, 0), *self.shape[1:]), self.dtype)
            self._fill(result, start)
            return result
        numbers = list_row_numbers(rows, len(self))
        result = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for target, index in zip(result, numbers, strict=True):
            self._fill(target, index)
        return result

    def _fill(self, target: NDArray[Any], row: int) -> None:
        """Read into `target`, from the start of `row` on."""
        if not target.size:
            return
        space = memoryview(target.reshape(-1).view(np.uint8))
        position = self._start + row * self._row_bytes
        while space:
            count = os.preadv(self._file.fileno(), [space], position)
            if not count:
                raise InputMissing(
                    "a cached array was cut off while it was read",
                    where=f"{self.path.parent.name}/{self.path.name}",
                    fix="run the same command again",
                )
            space, position = space[count:], position + count
