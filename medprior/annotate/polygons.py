"""Closed contours as pixels: a pixel is inside where at least half of it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medprior.errors import MedpriorError

Mask = NDArray[np.bool_]
Ring = NDArray[np.float64]
FINE_SAMPLES, COARSE_SAMPLES = 8, 4
LARGE_CONTOUR_PX = 512
POLYGON_STRIP_ROWS = 64


def parse_ring(points: Sequence[Sequence[float]], where: str) -> Ring:
    """One contour as float64 [n, 2] (x, y).

    Raises:
        MedpriorError: fewer than three points, or a coordinate that is no number.
    """
    try:
        found = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    good = found.ndim == 2 and found.shape[1:] == (2,) and bool(np.isfinite(found).all())
    if not good or len(found) < 3 or float(np.abs(found).max()) > 1e6:
        raise MedpriorError(
            "not a closed contour",
            where=where,
            expected="at least three points (x, y) in pixels of the picture",
            found=f"{len(found)} point(s)" if good else "",
        )
    return found


def fill_polygons(rings: Iterable[Ring], shape: tuple[int, int]) -> Mask:
    """The union of contours as a mask.

    Coordinates are continuous: (0, 0) is the picture's upper left corner, (cols, rows) its lower
    right one, so that the first pixel's centre is at (0.5, 0.5). What lies outside is cut off.
    Pixels are counted on an 8 x 8 grid each, 4 x 4 for contours larger than 512 pixels, strip by
    strip (Pillow's polygon fill).

    Args:
        rings: float64 [n, 2] (x, y) each.
        shape: rows and columns.

    Returns:
        bool [rows, cols].
    """
    mask = np.zeros(shape, dtype=bool)
    for points in rings:
        low = np.clip(np.floor(points.min(axis=0)).astype(int), 0, shape[::-1])
        high = np.clip(np.ceil(points.max(axis=0)).astype(int), 0, shape[::-1])
        for rows, cover in rasterise_strips(points, low, high):
            mask[rows, low[0] : high[0]] |= cover >= 0.5
    return mask


def rasterise_strips(
    points: Ring, low: NDArray[np.int_], high: NDArray[np.int_]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Coverage in [0, 1] of each strip of rows between the corners `low` and `high` (x, y)."""
    width = int(high[0] - low[0])
    count = FINE_SAMPLES if int((high - low).max()) <= LARGE_CONTOUR_PX else COARSE_SAMPLES
    for top in range(int(low[1]), int(high[1]), POLYGON_STRIP_ROWS):
        height = min(POLYGON_STRIP_ROWS, int(high[1]) - top)
        if width <= 0 or height <= 0:
            continue
        canvas = Image.new("L", (width * count, height * count))
        # Pillow counts from the centre of the first small pixel.
        fine = (points - (low[0], top)) * count - 0.5
        ImageDraw.Draw(canvas).polygon([(x, y) for x, y in fine.tolist()], fill=1)
        blocks = np.asarray(canvas).reshape(height, count, width, count)
        yield slice(top, top + height), blocks.mean(axis=(1, 3))
