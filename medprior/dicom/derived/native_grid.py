"""Between a radiograph's upright square pixels and the pixels its file stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.display.resample import resize_pixels
from medprior.dicom.radiograph import Radiograph, find_turn_flag

Mask = NDArray[np.bool_]
GridShape = tuple[int, int]
Pixels = TypeVar("Pixels", NDArray[np.bool_], NDArray[np.float32], NDArray[np.uint8])


@dataclass(frozen=True)
class NativeGrid:
    """How a file's pixels became a radiograph's: turned first, then resampled to square pixels.

    Attributes:
        stored: rows and columns in the file.
        shown: rows and columns of the radiograph.
        turn: "", "orientation_mirrored" (left-right) or "orientation_rotated" (by 180 degrees).
    """

    stored: GridShape
    shown: GridShape
    turn: str = ""

    @classmethod
    def of(cls, radiograph: Radiograph) -> NativeGrid:
        """The record of a radiograph; one that was not read from DICOM is its own native grid."""
        rows, cols = radiograph.pixels.shape
        stored = (radiograph.stored_rows or rows, radiograph.stored_cols or cols)
        return cls(stored, (rows, cols), find_turn_flag(radiograph.flags))

    def to_stored(self, mask: Mask) -> Mask:
        """A mask [rows, cols] of the radiograph on the file's own pixels.

        Exact where pixels are square; else a stored pixel counts when half of it is covered.
        """
        return self.turned(self._resample_mask(mask, self.stored))

    def to_radiograph(self, mask: Mask) -> Mask:
        """A mask on the file's own pixels, on the radiograph's."""
        return self._resample_mask(self.turned(mask), self.shown)

    def turned(self, pixels: Pixels) -> Pixels:
        """An array [rows, cols, ...] turned as the file was on reading; its own inverse."""
        if self.turn == "orientation_mirrored":
            return np.ascontiguousarray(np.fliplr(pixels))
        if self.turn == "orientation_rotated":
            return np.ascontiguousarray(np.rot90(pixels, 2))
        return pixels

    @staticmethod
    def _resample_mask(mask: Mask, shape: GridShape) -> Mask:
        if mask.shape == shape:
            return np.asarray(mask, dtype=bool)
        return resize_pixels(mask.astype(np.float32), *shape) >= 0.5
