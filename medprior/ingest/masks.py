"""Reads mask files of data sets and resamples them onto the grid of their image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medprior.dicom import Policy
from medprior.dicom.display.resample import resize_pixels
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.raster import check_raster_size
from medprior.errors import Rejected
from medprior.ingest.plan import MaskFile

Mask = NDArray[np.bool_]
MASK_FORMATS = ["PNG", "GIF", "BMP", "TIFF", "JPEG"]


def read_masks(
    files: tuple[MaskFile, ...],
    shape: tuple[int, int],
    stored_shape: tuple[int, int],
    orientation_flag: str,
    policy: Policy,
) -> tuple[dict[str, Mask], tuple[str, ...]]:
    """Masks by structure on the grid of an image, and a flag where one does not fit.

    A mask fits if it has the aspect ratio of the image with square pixels, or of the image as its
    file stores it; it is then resampled as the image is.

    Args:
        files: mask files of the image.
        shape: rows and columns of the result, of square pixels.
        stored_shape: rows and columns of the image as its file stores it.
        orientation_flag: how the image was turned on reading: '', `orientation_mirrored`, ...
        policy: limits of size.
    """
    masks: dict[str, Mask] = {}
    flags: tuple[str, ...] = ()
    for file in files:
        try:
            levels = read_mask_levels(Path(file.path), policy, bool(file.rule.bits))
        except Rejected:
            flags = ("mask_unusable",)
            continue
        grid = (levels.shape[0], levels.shape[1])
        if not (has_same_aspect(grid, shape) or has_same_aspect(grid, stored_shape)):
            flags = ("mask_unusable",)
            continue
        for name, mask in split_structures(levels, file).items():
            masks[name] = resize_pixels(apply_orientation(mask, orientation_flag).astype(np.float32), *shape) >= 0.5
    return masks, flags


def read_mask_levels(path: Path, policy: Policy, indices: bool = False) -> NDArray[np.uint8]:
    """Grey levels of a mask file, uint8 [h, w]; palette indices if `indices`.

    Raises:
        Rejected: the file cannot be read.
    """
    with open_regular_file(path, policy) as (stream, _):
        data = stream.read()
    try:
        with Image.open(io.BytesIO(data), formats=MASK_FORMATS) as image:
            check_raster_size(image, policy)
            # Palette indices are the bits themselves; a plain mask is defined by its colours.
            plane = image if indices and image.mode == "P" else image.convert("L")
            return np.asarray(plane, dtype=np.uint8)
    except Rejected:
        raise
    except Exception:
        # Pillow raises many kinds of errors on broken files.
        raise Rejected("decode_failed", "the mask cannot be decoded") from None


def has_same_aspect(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether two grids have equal aspect ratios, to a pixel of the smaller one."""
    return abs(first[0] * second[1] - first[1] * second[0]) <= max(*first, *second)


def split_structures(levels: NDArray[np.uint8], file: MaskFile) -> dict[str, Mask]:
    """Structure -> mask: by bit, by connected component, or the whole mask."""
    rule = file.rule
    if rule.bits:
        return {name: (levels & bit) > 0 for bit, name in rule.bits.items()}
    mask = levels > (127 if levels.max() > 127 else 0)
    result = {file.structure: mask} if file.structure else {}
    if rule.split_components:
        result |= dict(zip(rule.split_components, find_two_largest(mask), strict=False))
    return result


def find_two_largest(mask: Mask) -> tuple[Mask, ...]:
    """The two largest connected components, the one further left in the image first."""
    from scipy import ndimage

    labelled, count = ndimage.label(mask)
    if count < 2:
        return ()
    sizes = np.bincount(labelled.ravel())[1:]
    largest = np.argsort(sizes)[-2:] + 1
    centres = {int(c): float(np.nonzero(labelled == c)[1].mean()) for c in largest}
    return tuple(labelled == c for c in sorted(centres, key=lambda c: centres[c]))


def apply_orientation(mask: Mask, orientation_flag: str) -> Mask:
    """The mask in the orientation of its image."""
    if orientation_flag == "orientation_mirrored":
        return np.fliplr(mask)
    return np.rot90(mask, 2) if orientation_flag == "orientation_rotated" else mask
