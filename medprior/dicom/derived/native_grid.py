"""Maps masks between a radiograph's upright square pixels and the pixels stored in its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.display.orientation import MIRRORED_FLAG, ROTATED_FLAG
from medprior.dicom.display.resample import resize_pixels
from medprior.dicom.radiograph import Radiograph, find_orientation_flag

Mask = NDArray[np.bool_]
GridShape = tuple[int, int]
Pixels = TypeVar("Pixels", NDArray[np.bool_], NDArray[np.float32], NDArray[np.uint8])


@dataclass(frozen=True)
class NativeGrid:
    """How a file's pixels became a radiograph's: turned, then resampled to square pixels.

    Attributes:
        stored_shape: rows and columns in the file.
        display_shape: rows and columns of the radiograph.
        turn: "", "orientation_mirrored" (left-right) or "orientation_rotated" (by 180 degrees).
    """

    stored_shape: GridShape
    display_shape: GridShape
    turn: str = ""

    @classmethod
    def from_radiograph(cls, radiograph: Radiograph) -> NativeGrid:
        """Build the grid of a radiograph; one not read from DICOM is its own native grid."""
        rows, cols = radiograph.pixels.shape
        stored = (radiograph.stored_rows or rows, radiograph.stored_cols or cols)
        return cls(stored, (rows, cols), find_orientation_flag(radiograph.flags))

    def to_stored(self, mask: Mask) -> Mask:
        """Map a mask [rows, cols] of the radiograph to the pixels of the file.

        Exact where pixels are square; else a stored pixel is set if at least half of it is covered.
        """
        return self.reorient_pixels(self._resample_mask(mask, self.stored_shape))

    def to_radiograph(self, mask: Mask) -> Mask:
        """Map a mask on the pixels of the file to those of the radiograph."""
        return self._resample_mask(self.reorient_pixels(mask), self.display_shape)

    def reorient_pixels(self, pixels: Pixels) -> Pixels:
        """Turn an array [rows, cols, ...] as the file was turned on reading; its own inverse."""
        if self.turn == MIRRORED_FLAG:
            return np.ascontiguousarray(np.fliplr(pixels))
        if self.turn == ROTATED_FLAG:
            return np.ascontiguousarray(np.rot90(pixels, 2))
        return pixels

    def points_to_stored(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points of the radiograph to the file's pixels.

        Args:
            points: float64 [points, 2], each (x, y), with (0, 0) the upper-left corner of the upper-left pixel.

        Returns:
            float64 [points, 2], each (column, row), with the same origin: the image coordinates of SCOORD
            and of graphic annotations in pixels (PS3.3 C.18.6.1.1, C.10.5.1.1).
        """
        (rows, cols), (display_rows, display_cols) = self.stored_shape, self.display_shape
        stored = np.asarray(points, dtype=np.float64) * (cols / display_cols, rows / display_rows)
        if self.turn in {MIRRORED_FLAG, ROTATED_FLAG}:
            stored[:, 0] = cols - stored[:, 0]
        if self.turn == ROTATED_FLAG:
            stored[:, 1] = rows - stored[:, 1]
        return stored

    @staticmethod
    def _resample_mask(mask: Mask, shape: GridShape) -> Mask:
        if mask.shape == shape:
            return np.asarray(mask, dtype=bool)
        return resize_pixels(mask.astype(np.float32), *shape) >= 0.5
