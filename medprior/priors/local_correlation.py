"""Local correlation of two pictures and its exact gradient: alike wherever one looks closely."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
VARIANCE_FLOOR = 1e-4


class LocalCorrelation:
    """Mean squared correlation over all windows of a fixed picture.

    The similarity of ANTS' neighbourhood correlation (Avants et al. 2008): blind to brightness and
    contrast of each neighbourhood. Windows are cut off at the border.

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
        # Through the window means back to the pixels: the adjoint of `mean` is box(. / count).
        one, two = by_common / self.count, 2 * by_variance / self.count
        gradient = self.fixed * self.box(one) - self.box(one * self.mean_fixed)
        gradient -= moved * self.box(two) - self.box(two * mean)
        value = float((0.5 * by_common * common).mean())
        return value, gradient / moved.size
