"""Masks of ellipses."""

import numpy as np
from numpy.typing import NDArray


def fill_ellipse(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> NDArray[np.bool_]:
    """Pixels whose centre lies inside an upright ellipse: bool [rows, cols].

    Args:
        shape: rows, columns.
        centre: down and across, in pixels from the corner of the picture; the first pixel's centre is at 0.5, 0.5.
        radii: half axes, down and across.
    """
    y, x = (np.arange(size) + 0.5 for size in shape)
    return ((y[:, None] - centre[0]) / radii[0]) ** 2 + ((x[None] - centre[1]) / radii[1]) ** 2 < 1
