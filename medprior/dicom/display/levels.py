"""A picture as its levels: what becomes of a value is worked out once, not once for every pixel."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.decoding.row_blocks import iter_row_blocks

Mask = NDArray[np.bool_]
LevelTable = NDArray[Any]


class GreyLevels:
    """Unsigned cells, and tables that say what each level of them means.

    Millions of pixels have 4096 levels or so, so every step from stored values to brightness works
    on a table [levels] whose entry i belongs to cells of value i; the picture is looked up at the
    end, once. The result is the same to the bit, as every step maps value by value.

    Args:
        cells: unsigned integers of at most 16 bits [rows, cols].

    Attributes:
        cells: the same.
        high: the largest cell.
        count: length of the tables, `high` + 1.
        first, last: the smallest and the largest valid cell; `first` is larger if there is none.
        valid: bool [rows, cols], False where the picture is none; None where all of it is one.
    """

    def __init__(self, cells: NDArray[Any]) -> None:
        self.cells = cells
        self.high = int(cells.max())
        self.count = self.high + 1
        self.first, self.last = int(cells.min()), self.high
        self.valid: Mask | None = None

    def through(self, table: LevelTable) -> NDArray[Any]:
        """The picture [rows, cols] looked up in a table."""
        result = np.empty(self.cells.shape, table.dtype)
        for block in iter_row_blocks(self.cells):
            # No level is beyond the table; `clip` only spares a buffer.
            np.take(table, self.cells[block], out=result[block], mode="clip")
        return result

    def mask(self, valid: Mask) -> None:
        """Leave out the picture where `valid` is False."""
        if valid.all():
            return
        both = self.valid = valid if self.valid is None else self.valid & valid
        self.last = int(self.cells.max(where=both, initial=0))
        self.first = int(self.cells.min(where=both, initial=self.high)) if both.any() else 1
        self.__dict__.pop("used", None)

    @cached_property
    def used(self) -> Mask:
        """Boolean [levels]: those that occur in the valid picture."""
        counts = np.zeros(self.count, np.int64)
        for block in iter_row_blocks(self.cells):
            part = self.cells[block]
            part = part.ravel() if self.valid is None else part[self.valid[block]]
            counts += np.bincount(part, minlength=self.count)
        return counts > 0

    def extremes(self, table: LevelTable) -> tuple[float, float]:
        """Smallest and largest entry of the valid picture; inf, -inf if there is none."""
        part = table[self.first : self.last + 1]
        if not part.size:
            return np.inf, -np.inf
        if not ((part[1:] >= part[:-1]).all() or (part[1:] <= part[:-1]).all()):
            part = table[self.used]
        return float(part.min()), float(part.max())
