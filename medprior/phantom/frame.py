"""The pixel grid of one image in coordinates of the thorax."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medprior.phantom.anatomy import Anatomy

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ThoraxFrame:
    """Pixel centres in the rotated frame of the lungs' box.

    Attributes:
        u, v: across and down the box, (0, 0) its upper left corner, [rows, cols].
        width_mm, height_mm: the box.
        pixel_mm: pixel spacing in the patient.
    """

    u: Array
    v: Array
    width_mm: float
    height_mm: float
    pixel_mm: float

    @property
    def steps(self) -> tuple[float, float, float, float]:
        """Steps of x and y per column, and x, y of the first pixel, in millimetres.

        The steps per row are the same, rotated by 90 degrees.
        """
        columns = max(self.u.shape[1] - 1, 1)
        x_step = float(self.u[0, -1] - self.u[0, 0]) * self.width_mm / columns
        y_step = float(self.v[0, -1] - self.v[0, 0]) * self.height_mm / columns
        x_first = (float(self.u[0, 0]) - 0.5) * self.width_mm
        return x_step, y_step, x_first, float(self.v[0, 0]) * self.height_mm

    @property
    def x_mm(self) -> Array:
        """Millimetres from the middle of the box, to the right of the picture, [rows, cols]."""
        return (self.u - np.float32(0.5)) * np.float32(self.width_mm)

    @property
    def y_mm(self) -> Array:
        """Millimetres down from the upper edge of the box, [rows, cols]."""
        return self.v * np.float32(self.height_mm)


def build_thorax_frame(anatomy: Anatomy, rows: int, cols: int) -> ThoraxFrame:
    """Build the frame of an image of `rows` x `cols` square pixels; `anatomy.roll` rotates it."""
    x = (np.arange(cols, dtype=np.float32) + 0.5)[None, :] - anatomy.centre_x * cols
    y = (np.arange(rows, dtype=np.float32) + 0.5)[:, None] - anatomy.centre_y * rows
    cos, sin = np.float32(np.cos(anatomy.roll)), np.float32(np.sin(anatomy.roll))
    width, height = anatomy.box_width * cols, anatomy.box_height * rows
    u = (cos * x + sin * y) / np.float32(width) + np.float32(0.5)
    v = (cos * y - sin * x) / np.float32(height) + np.float32(0.5)
    pixel = anatomy.width_mm / width
    return ThoraxFrame(u.astype(np.float32), v.astype(np.float32), anatomy.width_mm, height * pixel, pixel)
