"""Rasterise closed contours: a pixel is inside where at least half of it is covered."""

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
        MedpriorError: fewer than three points, or an invalid coordinate.
    """
    try:
        ring = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError):
        ring = np.empty(0)
    is_valid = ring.ndim == 2 and ring.shape[1:] == (2,) and bool(np.isfinite(ring).all())
    if not is_valid or len(ring) < 3 or float(np.abs(ring).max()) > 1e6:
        raise MedpriorError(
            "not a closed contour",
            where=where,
            expected="at least three points (x, y) in pixels of the picture",
            found=f"{len(ring)} point(s)" if is_valid else "",
        )
    return ring


def fill_polygons(rings: Iterable[Ring], shape: tuple[int, int]) -> Mask:
    """The union of contours as a mask.

    Coordinates are continuous: (0, 0) is the upper left corner of the image, (cols, rows) the lower
    right one, and the centre of the first pixel is at (0.5, 0.5). Contours are clipped at the
    image. Each pixel has 8 x 8 samples, 4 x 4 for contours larger than 512 pixels, filled in strips
    of rows (Pillow's polygon fill).

    Args:
        rings: float64 [n, 2] (x, y) each.
        shape: rows and columns.

    Returns:
        bool [rows, cols].
    """
    mask = np.zeros(shape, dtype=bool)
    for ring in rings:
        low = np.clip(np.floor(ring.min(axis=0)).astype(int), 0, shape[::-1])
        high = np.clip(np.ceil(ring.max(axis=0)).astype(int), 0, shape[::-1])
        for rows, coverage in rasterise_strips(ring, low, high):
            mask[rows, low[0] : high[0]] |= coverage >= 0.5
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
        # Pillow counts from the centre of the first sample.
        samples = (points - (low[0], top)) * count - 0.5
        ImageDraw.Draw(canvas).polygon([(x, y) for x, y in samples.tolist()], fill=1)
        blocks = np.asarray(canvas).reshape(height, count, width, count)
        yield slice(top, top + height), blocks.mean(axis=(1, 3))
