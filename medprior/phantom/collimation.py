"""Collimated field and side marker of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medprior.phantom.anatomy import Anatomy

Array = NDArray[np.float32]
MARKER_GLYPHS = {
    "L": ("1....", "1....", "1....", "1....", "1....", "1....", "11111"),
    "R": ("1111.", "1...1", "1...1", "1111.", "1.1..", "1..1.", "1...1"),
}


@dataclass(frozen=True)
class Collimation:
    """Field and marker of one image.

    Attributes:
        top, bottom, left, right: width of the dark border, parts of the image.
        marker: `L`, `R` or empty.
        marker_x, marker_y: its centre, parts of the image.
        marker_size: its height, parts of the image.
    """

    top: float
    bottom: float
    left: float
    right: float
    marker: str
    marker_x: float
    marker_y: float
    marker_size: float

    def field_mask(self, rows: int, cols: int) -> NDArray[np.bool_]:
        """Where the beam reaches, [rows, cols]."""
        y = (np.arange(rows) + 0.5)[:, None] / rows
        x = (np.arange(cols) + 0.5)[None, :] / cols
        inside_y = (y > self.top) & (y < 1 - self.bottom)
        return inside_y & (x > self.left) & (x < 1 - self.right)

    def draw_marker(self, signal: Array) -> Array:
        """Draw the lead marker into the signal; returns the same shape."""
        if not self.marker:
            return signal
        rows, cols = signal.shape
        unit = self.marker_size / 7.0
        y = ((np.arange(rows) + 0.5) / rows - self.marker_y) / unit + 3.5
        x = ((np.arange(cols) + 0.5) / cols - self.marker_x) / unit * cols / rows + 2.5
        glyph = np.array([[c == "1" for c in line] for line in MARKER_GLYPHS[self.marker]])
        inside = ((y >= 0) & (y < 7))[:, None] & ((x >= 0) & (x < 5))[None, :]
        row, col = np.clip(y, 0, 6).astype(int), np.clip(x, 0, 4).astype(int)
        return np.where(inside & glyph[np.ix_(row, col)], np.float32(0.97), signal)


def sample_collimation(anatomy: Anatomy, rng: np.random.Generator) -> Collimation:
    """Sample borders that never cut the lungs, and a marker beside a shoulder."""
    shares = rng.random(4) * (rng.random(4) < 0.45)
    half_x, half_y = anatomy.box_width / 2 + 0.015, anatomy.box_height / 2 + 0.02
    margins = (
        anatomy.centre_y - half_y,
        1 - anatomy.centre_y - half_y,
        anatomy.centre_x - half_x,
        1 - anatomy.centre_x - half_x,
    )
    top, bottom, left, right = (
        float(min(max(0.0, 0.8 * margin) * share, 0.09)) for margin, share in zip(margins, shares, strict=True)
    )
    side, inset, drop = rng.random(3)
    marker = "L" if side < 0.55 else "R" if side < 0.8 else ""
    inward = 0.045 + 0.06 * float(inset)
    x = 1 - right - inward if marker == "L" else left + inward
    y = top + 0.05 + 0.06 * float(drop)
    return Collimation(top, bottom, left, right, marker, x, y, 0.038)
