"""Read masks of one image from COCO JSON: polygons and run lengths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.annotate.imported_masks import ImportedMasks
from medprior.annotate.polygons import fill_polygons, parse_ring
from medprior.annotate.run_lengths import decode_run_lengths
from medprior.dicom import Policy
from medprior.errors import MedpriorError

Mask = NDArray[np.bool_]


def parse_coco_masks(record: Mapping[str, Any], picture: str, where: str) -> ImportedMasks:
    """Masks of one image in a COCO file, by category.

    Args:
        record: content of the file.
        picture: file name or image id; selects among several images by `file_name` without its
            suffix. A single image is used whatever its name.
        where: name of the argument, for errors.

    Raises:
        MedpriorError: the image is not in the file, has no mask, or a shape is invalid.
    """
    try:
        image = find_image_entry(record["images"], picture, where)
        shape = (int(image["height"]), int(image["width"]))
        category_names = {parse_id(item["id"]): str(item["name"]) for item in record.get("categories", [])}
        image_id = parse_id(image["id"])
        annotations = [item for item in record["annotations"] if parse_id(item["image_id"]) == image_id]
        masks: dict[str, Mask] = {}
        for item in annotations:
            category_id = parse_id(item["category_id"])
            label = category_names.get(category_id, category_id)
            mask = rasterise_segmentation(item.get("segmentation"), shape, f"{where}: {label}")
            if mask is not None:
                masks[label] = masks[label] | mask if label in masks else mask
    except (KeyError, TypeError, ValueError, AttributeError):
        raise MedpriorError(
            "not a COCO file",
            where=where,
            expected="images with id, height, width; annotations with image_id, category_id",
        ) from None
    if not masks:
        raise MedpriorError(
            "nothing is drawn on the picture", where=where,
            expected="annotations with a segmentation (boxes alone are no contours)",
        )  # fmt: skip
    return ImportedMasks(masks)


def parse_id(value: Any) -> str:
    """An id as text: some tools write numbers in one list and texts in another.

    Raises:
        ValueError: neither a number nor a text.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def find_image_entry(images: Iterable[Any], picture: str, where: str) -> dict[str, Any]:
    """The entry of an image in `images`."""
    entries: list[dict[str, Any]] = list(images)
    if len(entries) > 1:
        stem = PurePosixPath(picture).stem
        entries = [item for item in entries if PurePosixPath(str(item["file_name"]).replace("\\", "/")).stem == stem]
    if len(entries) != 1:
        # File names may hold a patient's name: the error gives their number only.
        raise MedpriorError(
            "no single image in the COCO file matches the picture",
            where=where,
            expected="one image whose file_name is that of the picture",
            found=f"{len(entries)} images",
        )
    shape = (int(entries[0]["height"]), int(entries[0]["width"]))
    if not 0 < min(shape) <= max(shape) <= Policy().max_side:
        raise ValueError
    return entries[0]


def rasterise_segmentation(segmentation: Any, shape: tuple[int, int], where: str) -> Mask | None:
    """The mask of one annotation; None where it has only a box."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        size = tuple(segmentation["size"])
        if size != shape:
            raise MedpriorError(
                "the run lengths are of another size than the picture", where=where,
                expected=f"{shape[0]} x {shape[1]}", found=" x ".join(str(s) for s in size[:2]),
            )  # fmt: skip
        return decode_run_lengths(segmentation["counts"], shape)
    rings = [parse_ring(list(zip(flat[::2], flat[1::2], strict=True)), where) for flat in segmentation]
    return fill_polygons(rings, shape)
