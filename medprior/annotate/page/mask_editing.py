"""Edits contours as masks: brush, eraser and smoothing; traces masks as contours with few points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import Field
from scipy import ndimage

from medprior.annotate.page.contours import Contour, Point
from medprior.annotate.polygons import fill_polygons, parse_ring
from medprior.settings import Settings

Mask = NDArray[np.bool_]
EditKind = Literal["brush", "eraser", "smooth"]
TRACE_TOLERANCE = 0.004  # of the longest side: about 25 points for a lung (our choice)
MIN_PART_SHARE = 0.02  # smaller parts than this share of the largest are specks (our choice)
MAX_EDIT_SIDE_PX = 1024
MAX_IMAGE_SIDE_PX = 2**16
Side = Annotated[int, Field(ge=1, le=MAX_IMAGE_SIDE_PX)]


class ContourEdit(Settings):
    """One edit of the contours of one structure.

    Attributes:
        kind: `brush` adds what the stroke covers, `eraser` removes it, `smooth` rounds the contours.
        size: (rows, cols) of the image in pixels.
        contours: of the structure, (x, y) in pixels of the image; none where it has none yet.
        stroke: (x, y) of the pointer, for brush and eraser.
        radius: of brush and eraser, or of the smallest detail that smoothing keeps, in pixels of the image.
    """

    kind: EditKind
    size: tuple[Side, Side]
    contours: Annotated[tuple[Contour, ...], Field(max_length=50)] = ()
    stroke: Annotated[tuple[Point, ...], Field(max_length=5000)] = ()
    radius: Annotated[float, Field(gt=0, le=MAX_IMAGE_SIDE_PX, allow_inf_nan=False)]

    def apply(self) -> list[list[Point]]:
        """The edited contours; none where nothing is left.

        Raises:
            MedpriorError: a contour is invalid.
        """
        scale = min(1.0, MAX_EDIT_SIDE_PX / max(self.size))
        shape = (max(1, round(self.size[0] * scale)), max(1, round(self.size[1] * scale)))
        rings = [parse_ring(contour, "contour") * scale for contour in self.contours]
        mask = fill_polygons(rings, shape)
        radius = max(0.5, self.radius * scale)
        if self.kind == "smooth":
            mask = smooth_mask(mask, radius)
        else:
            paint_stroke(mask, np.asarray(self.stroke, dtype=np.float64).reshape(-1, 2) * scale, radius,
                         self.kind == "brush")  # fmt: skip
        return trace_contours(mask, self.size)


def paint_stroke(mask: Mask, points: NDArray[np.float64], radius: float, value: bool) -> None:
    """Set the pixels of a mask within `radius` of a line to `value`, in place.

    Args:
        mask: bool [rows, cols].
        points: float64 [n, 2] (x, y) in pixels, one for a dot.
        radius: in pixels.
        value: True adds to the mask, False removes from it.
    """
    canvas = Image.new("1", (mask.shape[1], mask.shape[0]))
    draw = ImageDraw.Draw(canvas)
    ends = [(x - 0.5, y - 0.5) for x, y in points.tolist()]  # Pillow counts from pixel centres
    draw.line(ends, fill=1)
    draw.point(ends, fill=1)
    line = np.asarray(canvas, dtype=bool)
    if line.any():
        mask[ndimage.distance_transform_edt(~line) <= radius] = value


def smooth_mask(mask: Mask, radius: float) -> Mask:
    """A mask whose border is rounded at the scale of `radius` pixels: a Gaussian blur, cut at one half."""
    padding = int(np.ceil(4 * radius))
    blurred = ndimage.gaussian_filter(np.pad(mask, padding).astype(np.float32), radius)
    return np.asarray(blurred[padding:-padding, padding:-padding] >= 0.5)


def trace_contours(mask: Mask, size: tuple[int, int], tolerance: float = TRACE_TOLERANCE) -> list[list[Point]]:
    """The contours of a mask with few enough points to drag, the largest part first.

    Holes are filled, and parts under 2 % of the largest left out: contours on the page have no holes.

    Args:
        mask: bool [h, w] over the image.
        size: (rows, cols) of the image.
        tolerance: farthest distance of the contours from the mask's border, share of its longest side.

    Returns:
        Closed contours of (x, y) in pixels of the image.
    """
    from skimage import measure as untyped_measure

    measure: Any = untyped_measure
    labels, count = ndimage.label(ndimage.binary_fill_holes(mask))
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    scale = (size[1] / mask.shape[1], size[0] / mask.shape[0])
    contours: list[list[Point]] = []
    for part in np.argsort(-areas, kind="stable"):
        if areas[part] < MIN_PART_SHARE * areas.max():
            break
        layer = np.pad(labels == part + 1, 1).astype(np.float32)
        line = max(measure.find_contours(layer, 0.5), key=len)
        ring = measure.approximate_polygon(line, tolerance * max(mask.shape))[:-1]
        if len(ring) > 2:
            # Index 1 of the padded mask is the centre of its first pixel.
            points: Sequence[Sequence[float]] = np.round((ring[:, ::-1] - 0.5) * scale, 2).tolist()
            contours.append([(x, y) for x, y in points])
    return contours
