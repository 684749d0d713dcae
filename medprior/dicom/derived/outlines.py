"""Traces the outlines of masks as polygons, for objects that hold graphics instead of pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]
# Outlines run at least 0.35 pixels from every pixel centre, so that polygons this near to them have the same pixels.
OUTLINE_TOLERANCE_PX = 0.25


def trace_outlines(mask: Mask) -> list[Points]:
    """Trace each outline of a mask, those of holes included; filled by the even-odd rule they are the mask.

    Args:
        mask: bool [rows, cols].

    Returns:
        float64 [points, 2] each, (column, row) with (0, 0) the upper-left corner of the upper-left pixel; the
        last point is the first.
    """
    from skimage.measure import approximate_polygon, find_contours

    outlines = []
    for line in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):  # type: ignore[no-untyped-call]
        simplified = approximate_polygon(line, OUTLINE_TOLERANCE_PX)  # type: ignore[no-untyped-call]
        outlines.append(
            np.asarray(simplified[:, ::-1] - 0.5, dtype=np.float64)
        )  # from pixel centres of the padded mask
    return outlines


def split_polyline(points: Points, most: int) -> list[Points]:
    """Split a polyline into pieces of at most `most` points; each starts where the one before ends."""
    return [points[start : start + most] for start in range(0, len(points) - 1, most - 1)]
