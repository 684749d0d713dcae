"""Local correlation of two pictures and its exact gradient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
VARIANCE_FLOOR = 1e-4


class LocalCorrelation:
    """Mean squared correlation over all windows of a fixed picture.

    The neighbourhood correlation of ANTS (Avants et al. 2008): invariant to brightness and contrast
    of each window. Windows are truncated at the border.

    Args:
        fixed: float [n, n].
        radius: windows have 2 * radius + 1 pixels a side.
    """

    def __init__(self, fixed: Array, radius: int) -> None:
        self.fixed = np.asarray(fixed, dtype=np.float64)
        self.width = 2 * radius + 1
        self.count = self.box(np.ones_like(self.fixed))
        self.mean_fixed = self.mean(self.fixed)
        self.variance_fixed = self.mean(self.fixed**2) - self.mean_fixed**2 + VARIANCE_FLOOR

    def box(self, array: Array) -> Array:
        """Sum over each window up to a constant factor; its own adjoint."""
        return np.asarray(ndimage.uniform_filter(array, self.width, mode="constant"))

    def mean(self, array: Array) -> Array:
        """Mean over each window."""
        return self.box(array) / self.count

    def __call__(self, moved: Array) -> tuple[float, Array]:
        """Similarity in [0, 1] and its gradient by each pixel of `moved`, float64 [n, n]."""
        mean = self.mean(moved)
        variance = self.mean(moved**2) - mean**2 + VARIANCE_FLOOR
        common = self.mean(self.fixed * moved) - self.mean_fixed * mean
        by_common = 2 * common / (self.variance_fixed * variance)
        by_variance = 0.5 * by_common * common / variance
        # Back through the window means: the adjoint of `mean` is box(. / count).
        common_weight, variance_weight = by_common / self.count, 2 * by_variance / self.count
        gradient = self.fixed * self.box(common_weight) - self.box(common_weight * self.mean_fixed)
        gradient -= moved * self.box(variance_weight) - self.box(variance_weight * mean)
        value = float((0.5 * by_common * common).mean())
        return value, gradient / moved.size
