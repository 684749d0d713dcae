"""Read masks of one image from LabelMe JSON: polygons, rectangles, circles and masks."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medprior.annotate.imported_masks import ImportedMasks
from medprior.annotate.polygons import fill_polygons, parse_ring
from medprior.dicom import Policy
from medprior.dicom.raster import check_raster_size
from medprior.errors import MedpriorError

Mask = NDArray[np.bool_]
CIRCLE_POINTS = 180
AREA_SHAPES = "polygon, rectangle, circle or mask"
RECTANGLE_KINDS = {"rectangle", "oriented_rectangle", "rotation"}


def parse_labelme_masks(record: Mapping[str, Any], where: str) -> ImportedMasks:
    """Masks of a LabelMe file, the union of shapes per label.

    Raises:
        MedpriorError: a shape is invalid, or the file has none.
    """
    size = (record.get("imageHeight"), record.get("imageWidth"))
    if not all(isinstance(side, int) and 0 < side <= Policy().max_side for side in size):
        raise MedpriorError(
            "the picture's size is missing", where=where, expected="imageHeight and imageWidth",
            fix="save the file again in LabelMe",
        )  # fmt: skip
    shape = (int(size[0] or 0), int(size[1] or 0))
    masks: dict[str, Mask] = {}
    skipped: list[str] = []
    for item in record["shapes"]:
        label = str(item.get("label", "")).strip() if isinstance(item, dict) else ""
        kind = str(item.get("shape_type") or "polygon") if label else ""
        if kind in {"point", "line", "linestrip", "points"}:
            skipped.append(f"{label}: a {kind} has no area and was left out")
            continue
        mask = rasterise_shape(item, kind, shape, f"{where}: {label or 'a shape without a label'}")
        masks[label] = masks[label] | mask if label in masks else mask
    if not masks:
        raise MedpriorError("nothing is drawn", where=where, expected=f"a {AREA_SHAPES}")
    return ImportedMasks(masks, warnings=tuple(skipped))


def rasterise_shape(item: Any, kind: str, shape: tuple[int, int], where: str) -> Mask:
    """One shape as a mask."""
    points = item.get("points") if isinstance(item, dict) else None
    if kind == "polygon":
        return fill_polygons([parse_ring(points or (), where)], shape)
    if kind in RECTANGLE_KINDS and isinstance(points, list) and len(points) == 4:
        return fill_polygons([order_rectangle_corners(parse_ring(points, where))], shape)
    ends = parse_two_points(points)
    if ends is not None:
        first, second = ends
        if kind == "rectangle":
            (left, right), (top, bottom) = zip(first, second, strict=True)
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            return fill_polygons([parse_ring(corners, where)], shape)
        if kind == "circle":
            angle = np.arange(CIRCLE_POINTS) * (2 * np.pi / CIRCLE_POINTS)
            radius = float(np.hypot(*(second - first)))
            circle = first + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            return fill_polygons([parse_ring(circle.tolist(), where)], shape)
        if kind == "mask":
            return decode_box_mask(item.get("mask"), np.minimum(first, second), shape, where)
    raise MedpriorError("a shape that cannot be used", where=where, expected=AREA_SHAPES, found=kind)


def order_rectangle_corners(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four corners (x, y), float64 [4, 2], in an order around the rectangle: tools write them row by row or around."""
    offsets = corners - corners.mean(axis=0)
    return corners[np.argsort(np.arctan2(offsets[:, 1], offsets[:, 0]), kind="stable")]


def parse_two_points(points: Any) -> NDArray[np.float64] | None:
    """Two points as float64 [2, 2] (x, y), None where they are not two points."""
    try:
        pair = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return pair if pair.shape == (2, 2) and bool(np.isfinite(pair).all()) else None


def decode_box_mask(data: Any, corner: NDArray[np.float64], shape: tuple[int, int], where: str) -> Mask:
    """A LabelMe mask: the base64 PNG of its bounding box, placed at the upper left `corner`."""
    try:
        raw = base64.b64decode(str(data), validate=True)
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
            check_raster_size(image, Policy(min_side=1))
            box_mask = np.asarray(image.convert("L")) > 0
    except (binascii.Error, OSError, ValueError, SyntaxError):
        raise MedpriorError("the mask cannot be decoded", where=where, expected="a PNG") from None
    left, top = (round(float(value)) for value in corner)
    rows, cols = box_mask.shape
    if left < 0 or top < 0 or top + rows > shape[0] or left + cols > shape[1]:
        raise MedpriorError("the mask reaches beyond the picture", where=where)
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + rows, left : left + cols] = box_mask
    return mask
