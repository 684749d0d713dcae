"""Read label maps from PNG or TIFF: grey levels or palette indices number the structures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medprior.annotate.imported_masks import ImportedMasks
from medprior.dicom import Policy
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.raster import check_raster_size
from medprior.errors import MedpriorError, Rejected
from medprior.ingest.masks import MASK_FORMATS

MAX_LABELS = 64


def read_raster_masks(path: Path, where: str) -> ImportedMasks:
    """One mask per grey level or palette index above 0.

    Raises:
        Rejected: the file is too large, or cannot be opened.
        MedpriorError: the image has colours or several pages, or is no label map.
    """
    with open_regular_file(path, Policy()) as (stream, _):
        data = stream.read()
    try:
        with Image.open(io.BytesIO(data), formats=MASK_FORMATS) as image:
            check_raster_size(image, Policy())
            pages = int(getattr(image, "n_frames", 1))
            levels = read_label_levels(image, where)
    except (MedpriorError, Rejected):
        raise
    except Exception:
        # Pillow raises many exception classes on invalid files.
        raise MedpriorError("the picture cannot be decoded", where=where, expected="a PNG or TIFF label map") from None
    if pages != 1:
        raise MedpriorError(
            f"the picture has {pages} pages", where=where, expected="one page",
            fix="save each page as one mask and give it with --mask NAME=FILE",
        )  # fmt: skip
    return ImportedMasks(split_labels(levels, where))


def read_label_levels(image: Image.Image, where: str) -> NDArray[Any]:
    """Grey levels or palette indices of an image."""
    if image.mode == "1":
        return np.asarray(image, dtype=np.uint8)
    if image.mode in {"L", "P"} or image.mode.startswith("I"):
        return np.asarray(image)
    channels = np.asarray(image.convert("RGB")).astype(np.int16)
    if int(np.ptp(channels, axis=2).max()) > 0:
        raise MedpriorError(
            "a colour picture",
            where=where,
            expected="grey levels or palette indices that number the structures",
            fix="save it as an indexed or grey picture, or one mask per structure",
        )
    return channels[..., 1]


def split_labels(levels: NDArray[Any], where: str) -> dict[str, NDArray[np.bool_]]:
    """Label number -> mask, for every value above 0.

    Raises:
        MedpriorError: no value is above 0, values are not whole numbers, or there are too many.
    """
    values = np.unique(levels)
    are_whole = bool(np.isfinite(values).all()) and np.allclose(values, np.rint(values), atol=1e-3)
    labels = [value for value in values.tolist() if value > 0.5]
    if not are_whole or len(labels) > MAX_LABELS or not labels:
        state = "nothing is drawn" if not labels else "not a label map"
        raise MedpriorError(
            state,
            where=where,
            expected="0 outside and one whole number for each structure",
            found=f"{len(labels)} values above 0" if labels else "",
            fix="check the export; a mask without labels goes with --mask NAME=FILE",
        )
    return {str(round(value)): np.abs(levels - value) < 0.5 for value in labels}
