"""Snaps contours to the nearest edge of the radiograph: a live-wire within a band around each contour.

The band is unrolled into a strip whose rows are points along the contour and whose columns are distances from it. The
cheapest way along the strip is the new contour (Mortensen and Barrett 1995, by scikit-image's `route_through_array`).
Costs, band and smoothing are our choice.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from medprior.annotate.page.contours import Contour, Point, ShortText
from medprior.annotate.page.mask_editing import MAX_EDIT_SIDE_PX, trace_contours
from medprior.annotate.polygons import Ring, fill_polygons, parse_ring
from medprior.dicom.display.resample import compute_resized_shape, resize_pixels
from medprior.settings import Settings

REACH = 0.025  # farthest move of a point, share of the longest side
STEP_PX = 1.5  # between points along the contour
EDGE_BLUR = 0.003  # of the gradient, share of the longest side
SNAP_TOLERANCE = 0.0025  # of the snapped contour, share of the longest side
DISTANCE_COST = 0.5  # of the farthest column, where the strongest edge saves 1
MIN_COST = 0.02
MIN_POINTS = 32
Array = NDArray[np.float64]


class EdgeSnap(Settings):
    """Contours of one structure that are to be snapped to the nearest edge.

    Attributes:
        picture: key of the image.
        contours: (x, y) in pixels of the image.
    """

    picture: ShortText
    contours: Annotated[tuple[Contour, ...], Field(min_length=1, max_length=50)]


def snap_contours(pixels: NDArray[np.float32], contours: tuple[Contour, ...]) -> list[list[Point]]:
    """Contours on the nearest edges of the radiograph, at most 2.5 % of its longest side away.

    Args:
        pixels: float32 [rows, cols] in [0, 1].
        contours: closed contours of (x, y) in pixels.

    Raises:
        MedpriorError: a contour is invalid.
    """
    rows, cols = pixels.shape
    shape = compute_resized_shape((rows, cols), MAX_EDIT_SIDE_PX)
    small = resize_pixels(pixels, *shape).astype(np.float64)
    blur = max(1.0, EDGE_BLUR * max(shape))
    gradient = np.stack([ndimage.gaussian_filter(small, blur, order=order) for order in ((0, 1), (1, 0))])
    scale = np.array([shape[1] / cols, shape[0] / rows])
    snapped: list[list[Point]] = []
    for contour in contours:
        ring = snap_ring(gradient, parse_ring(contour, "contour") * scale)
        traced = trace_contours(fill_polygons([ring], shape), (rows, cols), SNAP_TOLERANCE)
        snapped += traced[:1] or [list(contour)]
    return snapped


def snap_ring(gradient: Array, ring: Ring) -> Ring:
    """A closed contour on the nearest edges.

    Args:
        gradient: float64 [2, rows, cols], along x and y.
        ring: float64 [n, 2] (x, y) in pixels.

    Returns:
        float64 [m, 2], points about 1.5 pixels apart.
    """
    points = resample_ring(ring)
    normals = compute_normals(points)
    reach = max(2, round(REACH * max(gradient.shape[1:])))
    offsets = np.arange(-reach, reach + 1, dtype=np.float64)
    samples = points[:, None] + offsets[None, :, None] * normals[:, None]
    places = samples[..., ::-1].transpose(2, 0, 1) - 0.5  # pixel centres
    slopes = sum(
        ndimage.map_coordinates(component, places, order=1, mode="nearest") * normals[:, axis, None]
        for axis, component in enumerate(gradient)
    )
    path = find_cheapest_offsets(compute_strip_cost(np.asarray(slopes), offsets / reach), offsets)
    smooth = ndimage.gaussian_filter1d(path, 1.0, mode="wrap")
    return points + smooth[:, None] * normals


def resample_ring(ring: Ring) -> Ring:
    """Points at equal distances along a closed contour, at least 32."""
    closed = np.concatenate([ring, ring[:1]])
    lengths = np.concatenate([[0.0], np.hypot(*np.diff(closed, axis=0).T).cumsum()])
    count = max(MIN_POINTS, round(lengths[-1] / STEP_PX))
    at = np.linspace(0, lengths[-1], count, endpoint=False)
    return np.stack([np.interp(at, lengths, closed[:, axis]) for axis in (0, 1)], axis=1)


def compute_normals(points: Ring) -> Array:
    """Unit normals [m, 2] of a closed contour, smoothed over a few points."""
    tangents = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    tangents = ndimage.gaussian_filter1d(tangents, 3.0, axis=0, mode="wrap")
    normals = np.stack([tangents[:, 1], -tangents[:, 0]], axis=1)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9))


def compute_strip_cost(slopes: Array, distances: Array) -> Array:
    """Costs [m, w]: low on edges of the sign that prevails near the contour, high far from it.

    Args:
        slopes: float64 [m, w], derivative of the grey level across the contour.
        distances: float64 [w] in [-1, 1] from the contour.
    """
    near = np.exp(-0.5 * (distances / 0.5) ** 2)
    sign = 1.0 if float((slopes * near).sum()) >= 0 else -1.0
    edges = np.maximum(sign * slopes, 0)
    strength = np.clip(edges / max(float(np.quantile(edges, 0.95)), 1e-9), 0, 1)
    return np.asarray(MIN_COST + 1 - strength + DISTANCE_COST * distances**2)


def find_cheapest_offsets(cost: Array, offsets: Array) -> Array:
    """Offset [m] of the cheapest closed way along a strip [m, w]: the middle of one that goes round twice."""
    from skimage.graph import route_through_array

    count, centre = len(cost), len(offsets) // 2
    path, _ = route_through_array(np.concatenate([cost, cost]), (0, centre), (2 * count - 1, centre))  # type: ignore[no-untyped-call]
    rows, columns = np.asarray(path).T
    means = np.bincount(rows, weights=offsets[columns], minlength=2 * count) / np.bincount(rows, minlength=2 * count)
    start = count // 2
    return np.asarray(np.roll(means[start : start + count], start))
