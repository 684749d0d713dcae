"""Masks of pixel padding and display shutters (PS3.3 C.7.5.1.1.2, C.7.6.11)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medprior.dicom.decoding.decoders import PixelLayout
from medprior.dicom.display.levels import GreyLevels
from medprior.dicom.header import Header

Mask = NDArray[np.bool_]
MAX_POLYGON_CORNERS = 2048


def compute_unpadded_mask(
    levels: GreyLevels, stored: NDArray[np.int32], header: Header, layout: PixelLayout
) -> Mask | None:
    """Compute bool [rows, cols]: False where a stored value is padding, limits included.

    None where no pixel is padding. A PixelPaddingValue that BitsStored cannot hold is compared with
    the raw BitsAllocated cells.

    Args:
        levels: the picture.
        stored: int32 [levels], their stored values.
        header: of the file.
        layout: of the samples.
    """
    value = header.short(0x00280120, layout.signed)
    if value is None:
        return None
    limit = header.short(0x00280121, layout.signed)
    low, high = sorted((value, value if limit is None else limit))
    outside = (stored < low) | (stored > high)
    if not is_storable_value(value, layout):
        outside &= np.arange(levels.count) != value % (1 << layout.bits_allocated)
    return None if outside[levels.first :].all() else levels.apply_table(outside)


def is_storable_value(value: int, layout: PixelLayout) -> bool:
    """Whether a value can occur among the stored values."""
    half = 1 << (layout.bits_stored - 1)
    return -half <= value < half if layout.signed else 0 <= value < 2 * half


def compute_shutter_mask(header: Header, shape: tuple[int, int]) -> tuple[Mask | None, tuple[str, ...]]:
    """Compute bool [rows, cols]: False outside the display shutter; None where there is no shutter.

    An impossible shutter is ignored with the flag `shutter_unusable`.
    """
    inside: Mask | None = None
    kinds = set(header.texts(0x00181600)) - {""}
    flags: list[str] = []
    for kind, compute_shutter in (
        ("RECTANGULAR", compute_rectangular_shutter),
        ("CIRCULAR", compute_circular_shutter),
        ("POLYGONAL", compute_polygonal_shutter),
    ):
        if kind not in kinds:
            continue
        shutter = compute_shutter(header, shape)
        combined = shutter if shutter is None or inside is None else inside & shutter
        if combined is None or not combined.any():
            flags.append("shutter_unusable")
        else:
            inside = combined
            flags.append("shutter")
    return inside, tuple(dict.fromkeys(flags))


def compute_rectangular_shutter(header: Header, shape: tuple[int, int]) -> Mask | None:
    """Mask of the inside of the rectangular shutter, whose edges count from 1; None if unusable."""
    edges = [header.decimals(tag) for tag in (0x00181602, 0x00181604, 0x00181606, 0x00181608)]
    if any(len(edge) != 1 or not np.isfinite(edge[0]) for edge in edges):
        return None
    left, right, upper, lower = (edge[0] for edge in edges)
    row, col = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    return np.asarray((row >= upper) & (row <= lower) & (col >= left) & (col <= right))


def compute_circular_shutter(header: Header, shape: tuple[int, int]) -> Mask | None:
    """Mask of the inside of the circular shutter; None if unusable."""
    centre, radius = header.decimals(0x00181610), header.decimals(0x00181612)
    if len(centre) != 2 or len(radius) != 1 or not np.isfinite([*centre, *radius]).all():
        return None
    row, col = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    return np.asarray((row - centre[0]) ** 2 + (col - centre[1]) ** 2 <= radius[0] ** 2)


def compute_polygonal_shutter(header: Header, shape: tuple[int, int]) -> Mask | None:
    """Mask of the inside of the polygonal shutter, vertices as row, column pairs; None if unusable."""
    coordinates = header.decimals(0x00181620)
    count = len(coordinates)
    if not 6 <= count <= 2 * MAX_POLYGON_CORNERS or count % 2:
        return None
    if not np.isfinite(coordinates).all() or max(coordinates) > 1e5:
        return None
    corners = [(col - 1, row - 1) for row, col in zip(coordinates[::2], coordinates[1::2], strict=True)]
    picture = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(picture).polygon(corners, fill=1, outline=1)
    return np.asarray(picture, dtype=bool)
