"""Deformable registration: a free-form deformation that maximises local correlation.

Rueckert et al. 1999's free-form deformation with Avants et al. 2008's similarity. The gradient is
exact, so that L-BFGS needs few steps. The room's README compares it with ITK's B-spline.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from medprior.dicom.display.resample import resize_pixels
from medprior.priors.deformation import Deformation, pixel_centres, spline_basis
from medprior.priors.local_correlation import LocalCorrelation
from medprior.priors.settings import RegistrationSettings

Array = NDArray[np.float64]


def interpolate_bilinear(image: Array, points: Array) -> tuple[Array, Array]:
    """Values of `image` at points and their exact derivatives; border values continue outside.

    Args:
        image: float64 [h, w].
        points: float64 [2, n, n], (y, x) in pixels.

    Returns:
        float64 [n, n]; float64 [2, n, n] by y and x, 0 outside.
    """
    limit = np.array(image.shape).reshape(2, 1, 1) - 1
    inside = np.clip(points, 0, limit)
    low = np.minimum(inside.astype(np.intp), limit - 1)
    part_y, part_x = inside - low
    start = low[0] * image.shape[1] + low[1]
    flat = image.ravel()
    a, b = flat[start], flat[start + 1]
    c, d = flat[start + image.shape[1]], flat[start + image.shape[1] + 1]
    top, bottom = a + (b - a) * part_x, c + (d - c) * part_x
    slope = np.stack([bottom - top, (b - a) + ((d - c) - (b - a)) * part_y])
    return top + (bottom - top) * part_y, np.where(points == inside, slope, 0)


class FreeFormCost:
    """Cost of spline coefficients at one resolution, for `scipy.optimize.minimize`.

    Args:
        fixed: float64 [n, n].
        moving: float64 [n, n].
        start: the affine part, fixed.
        settings: mesh, radius, bending.
    """

    def __init__(self, fixed: Array, moving: Array, start: Deformation, settings: RegistrationSettings) -> None:
        self.similarity = LocalCorrelation(fixed, settings.radius)
        self.moving, self.start = moving, start
        self.size, self.mesh = len(fixed), settings.mesh
        self.basis = spline_basis(self.size, self.mesh)
        self.points = pixel_centres(self.size)
        self.weight = settings.bending * self.mesh**2
        first, second = (np.diff(np.eye(self.mesh + 3), order, axis=0) for order in (1, 2))
        self.slope, self.curve = first.T @ first, second.T @ second

    def bending(self, control: Array) -> tuple[float, Array]:
        """Integral of squared second derivatives, and its gradient, up to the spline's scale."""
        force = self.curve @ control + control @ self.curve
        force += 2 * (self.slope @ control @ self.slope)
        return float((control * force).sum()), 2 * force

    def __call__(self, flat: Array) -> tuple[float, Array]:
        """Cost and gradient of coefficients [2 * K * K]."""
        control = flat.reshape(2, self.mesh + 3, self.mesh + 3)
        points = self.points + self.basis @ control @ self.basis.T
        moved, slope = interpolate_bilinear(self.moving, self.start.affine(points) * self.size - 0.5)
        value, gradient = self.similarity(moved)
        by_point = np.tensordot(self.start.matrix.T, gradient * slope * self.size, axes=1)
        pull = self.basis.T @ by_point @ self.basis
        energy, force = self.bending(control)
        return self.weight * energy - value, (self.weight * force - pull).ravel()


def register_deformable(fixed: Array, moving: Array, start: Deformation, settings: RegistrationSettings) -> Deformation:
    """`start` with a spline part that aligns `moving` with `fixed`, coarse to fine.

    Shape:
        fixed, moving: float64 [n, n], with comparable intensities (histogram-equalised).
    """
    control = np.zeros((2, settings.mesh + 3, settings.mesh + 3))
    options = {"maxiter": settings.iterations, "ftol": 1e-5, "gtol": 1e-8, "maxcor": 8}
    for factor in settings.shrink:
        size = max(8, len(fixed) // factor)
        cost = FreeFormCost(downsample_picture(fixed, size), downsample_picture(moving, size), start, settings)
        solution: Any = optimize.minimize(cost, control.ravel(), jac=True, method="L-BFGS-B", options=options)  # type: ignore[call-overload]
        control = solution.x.reshape(control.shape)
    return Deformation(start.matrix, start.shift, control)


def downsample_picture(picture: Array, size: int) -> Array:
    """A square picture area-averaged to `size`: float64 [size, size]."""
    return resize_pixels(picture.astype(np.float32), size, size).astype(np.float64)
