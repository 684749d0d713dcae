"""Borders of lungs and heart in the projection, as functions of height, and their masks.

The knots are our choice, tuned so that rendered areas match the measured ones (tests check it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

from medprior.phantom.anatomy import Anatomy

Array = NDArray[np.float32]
BORDER_POINTS = 512

# Lung borders: (height from its top, distance from the outer border), in parts of the lung.
OUTER_BORDER_KNOTS = ((0, 0.64), (0.015, 0.53), (0.05, 0.42), (0.11, 0.315), (0.2, 0.22), (0.31, 0.148),
         (0.45, 0.095), (0.6, 0.052), (0.75, 0.02), (0.88, 0.0), (1.0, 0.012))  # fmt: skip
RIGHT_INNER_KNOTS = ((0, 0.64), (0.015, 0.75), (0.05, 0.83), (0.11, 0.885), (0.2, 0.94), (0.30, 0.998),
               (0.34, 1.0), (0.42, 0.95), (0.55, 0.90), (0.75, 0.90), (1.0, 0.94))  # fmt: skip
LEFT_INNER_KNOTS = ((0, 0.64), (0.015, 0.75), (0.05, 0.83), (0.11, 0.90), (0.17, 0.905), (0.23, 0.875),
              (0.29, 0.95), (0.34, 1.0), (0.42, 0.92), (0.55, 0.83), (0.75, 0.82),
              (1.0, 0.90))  # fmt: skip
# Diaphragm: (distance from the outer border, height), parts of the lung.
DIAPHRAGM_KNOTS = ((0.0, 1.0), (0.035, 1.0), (0.10, 0.945), (0.22, 0.875), (0.40, 0.825), (0.60, 0.803),
        (0.8, 0.815), (1.0, 0.845))  # fmt: skip
# Heart in its own box, clockwise from the base.
HEART_KNOTS = ((0.36, 0.0), (0.53, 0.03), (0.68, 0.17), (0.82, 0.37), (0.93, 0.56), (1.0, 0.75),
         (0.965, 0.88), (0.85, 0.965), (0.64, 1.0), (0.40, 0.985), (0.2, 0.935), (0.07, 0.82),
         (0.0, 0.62), (0.015, 0.42), (0.08, 0.22), (0.2, 0.06))  # fmt: skip


@dataclass(frozen=True)
class ShapeBorders:
    """Left and right border of a shape over height, in parts of the lungs' box.

    Shape: all [BORDER_POINTS]; `height` increases.
    """

    height: Array
    left: Array
    right: Array

    def at(self, v: Array) -> tuple[Array, Array]:
        """Left and right border at heights `v` of any shape."""
        left = np.interp(v, self.height, self.left).astype(np.float32)
        right = np.interp(v, self.height, self.right).astype(np.float32)
        return left, right

    def contains(self, u: Array, v: Array) -> NDArray[np.bool_]:
        """Whether points lie between the borders."""
        left, right = self.at(v)
        across = (u >= left) & (u <= right)
        return np.asarray(across & (v >= self.height[0]) & (v <= self.height[-1]), np.bool_)


def lung_borders(anatomy: Anatomy, left: bool) -> ShapeBorders:
    """Borders of one lung without regard to heart and diaphragm."""
    top, bottom = get_lung_vertical_extent(anatomy, left)
    width = anatomy.left_width if left else anatomy.right_width
    t = np.linspace(0.0, 1.0, BORDER_POINTS)
    outer = PchipInterpolator(*np.transpose(OUTER_BORDER_KNOTS))(t)
    inner = PchipInterpolator(*np.transpose(LEFT_INNER_KNOTS if left else RIGHT_INNER_KNOTS))(t)
    # The left lung narrows faster towards its apex.
    outer = outer + (0.7 if left else 0.2) * outer * (OUTER_BORDER_KNOTS[0][1] - outer)
    bulge = anatomy.bulge[2 if left else 0]
    outer = np.maximum(outer + 0.03 * bulge * np.sin(np.pi * np.clip(t / 0.7, 0, 1)), 0.0)
    height = (top + t * (bottom - top)).astype(np.float32)
    if left:
        first, last = 1.0 - width * inner, 1.0 - width * outer
    else:
        first, last = width * outer, width * inner
    return ShapeBorders(height, first.astype(np.float32), last.astype(np.float32))


def get_lung_vertical_extent(anatomy: Anatomy, left: bool) -> tuple[float, float]:
    """Highest and lowest point of a lung, parts of the box height."""
    if left:
        return anatomy.left_top, anatomy.left_bottom
    return anatomy.right_top, anatomy.right_bottom


def diaphragm_height(anatomy: Anatomy, u: Array, left: bool) -> Array:
    """Height of the diaphragm's upper edge over `u` (any shape), parts of the box height."""
    top, bottom = get_lung_vertical_extent(anatomy, left)
    width = anatomy.left_width if left else anatomy.right_width
    s = np.linspace(0.0, 1.0, BORDER_POINTS)
    dome = PchipInterpolator(*np.transpose(DIAPHRAGM_KNOTS))(s)
    heart_bottom = anatomy.heart_y + 0.5 * anatomy.heart_height
    rise = 1.0 - 0.22 * float(np.clip((heart_bottom - 0.897) / 0.1, -1, 1))
    rise *= 1.0 + 0.25 * anatomy.bulge[3 if left else 1]
    rise *= 1.06 if left else 1.12
    line = 1.0 - np.clip(rise, 0.4, 1.6) * (1.0 - dome)
    outward = (1.0 - u) / width if left else u / width
    return np.asarray(top + (bottom - top) * np.interp(outward, s, line), np.float32)


def heart_borders(anatomy: Anatomy) -> ShapeBorders:
    """Borders of the heart; their box is exactly that of `anatomy`."""
    points = np.asarray((*HEART_KNOTS, HEART_KNOTS[0]))
    curve = CubicSpline(np.arange(len(points)), points, bc_type="periodic")
    x, y = curve(np.linspace(0, len(points) - 1, 1024, endpoint=False)).T
    x, y = (x - x.min()) / np.ptp(x), (y - y.min()) / np.ptp(y)
    top, bottom = int(np.argmin(y)), int(np.argmax(y))
    grid = np.linspace(0.0, 1.0, BORDER_POINTS)
    right = np.interp(grid, *sort_arc_by_height(x, y, top, bottom))
    left = np.interp(grid, *sort_arc_by_height(x, y, bottom, top))
    corner_x = anatomy.heart_x - 0.5 * anatomy.heart_width
    corner_y = anatomy.heart_y - 0.5 * anatomy.heart_height
    return ShapeBorders(
        (corner_y + grid * anatomy.heart_height).astype(np.float32),
        (corner_x + left * anatomy.heart_width).astype(np.float32),
        (corner_x + right * anatomy.heart_width).astype(np.float32),
    )


def sort_arc_by_height(
    x: NDArray[np.float64], y: NDArray[np.float64], first: int, last: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The part of a closed curve from `first` to `last`, sorted by height, as (y, x)."""
    count = (last - first) % len(x) + 1
    index = (first + np.arange(count)) % len(x)
    order = np.argsort(y[index], kind="stable")
    return y[index][order], x[index][order]


def compute_structure_masks(anatomy: Anatomy, u: Array, v: Array) -> dict[str, NDArray[np.bool_]]:
    """Masks of both lungs and the heart.

    Args:
        anatomy: of the image.
        u: across the lungs' box, [rows, cols].
        v: down the lungs' box, [rows, cols].

    Returns:
        `left_lung`, `right_lung`, `heart`; lungs exclude the heart and what is under the
        diaphragm.
    """
    heart = heart_borders(anatomy).contains(u, v)
    masks = {"heart": heart}
    for name, left in (("left_lung", True), ("right_lung", False)):
        lung = lung_borders(anatomy, left).contains(u, v) & (v < diaphragm_height(anatomy, u, left))
        masks[name] = lung & ~heart
    return masks
