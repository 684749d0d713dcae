"""Deformations of the unit square: an affine map after a cubic B-spline displacement."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import BSpline

Array = NDArray[np.float64]


@lru_cache(maxsize=32)
def spline_basis(size: int, mesh: int) -> Array:
    """Uniform cubic B-splines at pixel centres: float64 [size, mesh + 3], rows sum to 1."""
    knots = np.arange(-3, mesh + 4, dtype=np.float64)
    centres = (np.arange(size) + 0.5) / size * mesh
    return np.asarray(BSpline.design_matrix(centres, knots, 3).toarray())


def pixel_centres(size: int) -> Array:
    """Unit-square coordinates (y, x) of every pixel: float64 [2, size, size]."""
    centres = (np.arange(size) + 0.5) / size
    return np.stack(np.meshgrid(centres, centres, indexing="ij"))


@dataclass(frozen=True)
class Deformation:
    """Maps each point of a fixed image to a point of the moving one.

    A point v of the fixed square maps to `matrix @ (v + u(v) - 0.5) + 0.5 + shift`.

    Shape:
        matrix: float64 [2, 2], (y, x) order.
        shift: float64 [2], in sides.
        control: float64 [2, K, K], spline coefficients of u in sides, or None for u = 0.
    """

    matrix: Array = field(default_factory=lambda: np.eye(2))
    shift: Array = field(default_factory=lambda: np.zeros(2))
    control: Array | None = None

    def affine(self, points: Array) -> Array:
        """The affine part at points [2, ...] of the fixed square."""
        moved = np.tensordot(self.matrix, points - 0.5, axes=1)
        return np.asarray(moved + 0.5 + self.shift.reshape(2, *[1] * (points.ndim - 1)))

    def displacement(self, size: int) -> Array:
        """The spline part at pixel centres: float64 [2, size, size], in sides."""
        if self.control is None:
            return np.zeros((2, size, size))
        basis = spline_basis(size, self.control.shape[1] - 3)
        return np.asarray(basis @ self.control @ basis.T)

    def grid(self, size: int) -> Array:
        """The point of the moving square for each pixel: float64 [2, size, size], (y, x)."""
        return self.affine(pixel_centres(size) + self.displacement(size))

    def scales(self) -> tuple[float, float]:
        """Smallest and largest scale of the affine part."""
        values = np.linalg.svd(self.matrix, compute_uv=False)
        return float(values[-1]), float(values[0])

    def folding_fraction(self, size: int) -> float:
        """Share of the image where the spline part folds (its Jacobian determinant is not positive)."""
        points = (pixel_centres(size) + self.displacement(size)) * size
        (yy, yx), (xy, xx) = (np.gradient(axis) for axis in points)
        return float((yy * xx - yx * xy <= 0).mean())

    def sample(self, maps: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        """Maps of the moving square on the fixed one: [K, h, w] to float32 [K, size, size].

        Bilinear; 0 outside the moving square.
        """
        points = self.grid(size) * np.array(maps.shape[1:]).reshape(2, 1, 1) - 0.5
        layers = [ndimage.map_coordinates(m, points, order=1, mode="grid-constant") for m in maps]
        return np.stack(layers).astype(np.float32)
