"""Where a stored picture is no picture: padding values and shutters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medprior.dicom.decoders import Layout
from medprior.dicom.header import Header
from medprior.dicom.levels import Levels

Mask = NDArray[np.bool_]
MOST_CORNERS = 2048


def unpadded(
    levels: Levels, stored: NDArray[np.int32], header: Header, layout: Layout
) -> Mask | None:
    """Boolean [rows, cols]: False where a stored value is padding, limits included.

    None where nothing is. A padding value outside the stored range is compared with the unmasked
    cells.

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
    if not fits(value, layout):
        outside &= np.arange(levels.count) != value % (1 << layout.allocated)
    return None if outside[levels.first :].all() else levels.through(outside)


def fits(value: int, layout: Layout) -> bool:
    """Whether a value can occur among the stored values."""
    half = 1 << (layout.stored - 1)
    return -half <= value < half if layout.signed else 0 <= value < 2 * half


def within_shutter(header: Header, shape: tuple[int, int]) -> tuple[Mask | None, tuple[str, ...]]:
    """Boolean [rows, cols]: False outside the display shutter; None where there is none.

    An impossible shutter is ignored.
    """
    inside: Mask | None = None
    kinds = set(header.texts(0x00181600)) - {""}
    flags: list[str] = []
    for kind, draw in (("RECTANGULAR", rectangle), ("CIRCULAR", circle), ("POLYGONAL", polygon)):
        if kind not in kinds:
            continue
        part = draw(header, shape)
        both = part if part is None or inside is None else inside & part
        if both is None or not both.any():
            flags.append("shutter_unusable")
        else:
            inside = both
            flags.append("shutter")
    return inside, tuple(dict.fromkeys(flags))


def rectangle(header: Header, shape: tuple[int, int]) -> Mask | None:
    """Inside the rectangular shutter's edges, which count from 1."""
    edges = [header.decimals(tag) for tag in (0x00181602, 0x00181604, 0x00181606, 0x00181608)]
    if any(len(edge) != 1 or not np.isfinite(edge[0]) for edge in edges):
        return None
    left, right, upper, lower = (edge[0] for edge in edges)
    row, col = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    return np.asarray((row >= upper) & (row <= lower) & (col >= left) & (col <= right))


def circle(header: Header, shape: tuple[int, int]) -> Mask | None:
    """Inside the circular shutter."""
    centre, radius = header.decimals(0x00181610), header.decimals(0x00181612)
    if len(centre) != 2 or len(radius) != 1 or not np.isfinite([*centre, *radius]).all():
        return None
    row, col = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    return np.asarray((row - centre[0]) ** 2 + (col - centre[1]) ** 2 <= radius[0] ** 2)


def polygon(header: Header, shape: tuple[int, int]) -> Mask | None:
    """Inside the polygonal shutter, whose vertices are row, column pairs."""
    flat = header.decimals(0x00181620)
    if (
        not 6 <= len(flat) <= 2 * MOST_CORNERS
        or len(flat) % 2
        or not np.isfinite(flat).all()
        or max(flat) > 1e5
    ):
        return None
    corners = [(col - 1, row - 1) for row, col in zip(flat[::2], flat[1::2], strict=True)]
    picture = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(picture).polygon(corners, fill=1, outline=1)
    return np.asarray(picture, dtype=bool)
