"""Maps a picture through tables of its grey levels instead of pixel by pixel."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.decoding.row_blocks import iter_row_blocks

Mask = NDArray[np.bool_]
LevelTable = NDArray[Any]


class GreyLevels:
    """Unsigned cells of a picture; steps work on tables with one entry per grey level.

    Millions of pixels have about 4096 levels, so every step from stored values to brightness works
    on a table [levels] whose entry i belongs to cells of value i; the picture is looked up once, at
    the end. The result is identical to the bit, because every step maps value by value.

    Args:
        cells: unsigned integers of at most 16 bits [rows, cols].

    Attributes:
        cells: the cells.
        high: the largest cell.
        count: length of the tables, `high` + 1.
        first, last: the smallest and the largest valid cell; `first` is larger if there is none.
        valid: bool [rows, cols], False in padding and behind shutters; None where all cells are valid.
    """

    def __init__(self, cells: NDArray[Any]) -> None:
        self.cells = cells
        self.high = int(cells.max())
        self.count = self.high + 1
        self.first, self.last = int(cells.min()), self.high
        self.valid: Mask | None = None

    def apply_table(self, table: LevelTable) -> NDArray[Any]:
        """Look up the picture [rows, cols] in a table [levels]."""
        result = np.empty(self.cells.shape, table.dtype)
        for block in iter_row_blocks(self.cells):
            # No level is beyond the table; mode `clip` only avoids a buffer.
            np.take(table, self.cells[block], out=result[block], mode="clip")
        return result

    def mask(self, valid: Mask) -> None:
        """Exclude the cells where `valid` [rows, cols] is False."""
        if valid.all():
            return
        combined = self.valid = valid if self.valid is None else self.valid & valid
        self.last = int(self.cells.max(where=combined, initial=0))
        self.first = int(self.cells.min(where=combined, initial=self.high)) if combined.any() else 1
        self.__dict__.pop("used_levels", None)

    @cached_property
    def used_levels(self) -> Mask:
        """Boolean [levels]: True for levels that occur among the valid cells."""
        counts = np.zeros(self.count, np.int64)
        for block in iter_row_blocks(self.cells):
            cells = self.cells[block]
            valid_cells = cells.ravel() if self.valid is None else cells[self.valid[block]]
            counts += np.bincount(valid_cells, minlength=self.count)
        return counts > 0

    def extremes(self, table: LevelTable) -> tuple[float, float]:
        """Smallest and largest entry that a valid cell maps to; inf, -inf if no cell is valid."""
        entries = table[self.first : self.last + 1]
        if not entries.size:
            return np.inf, -np.inf
        if not ((entries[1:] >= entries[:-1]).all() or (entries[1:] <= entries[:-1]).all()):
            entries = table[self.used_levels]
        return float(entries.min()), float(entries.max())
