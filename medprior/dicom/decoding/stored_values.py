"""Pixel bytes to stored values: cells, bit mask and sign, exactly as the header says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.decoding.decoders import UNCOMPRESSED_SYNTAXES, PixelLayout, decode_frame
from medprior.dicom.decoding.pixel_bytes import PixelBytes
from medprior.dicom.display.levels import GreyLevels
from medprior.dicom.header import Header
from medprior.dicom.policy import Policy
from medprior.errors import Rejected

MONOCHROME = {"MONOCHROME1", "MONOCHROME2"}
STRIP_ROWS, MAX_STRIPS = 64, 16


def read_pixel_layout(header: Header, policy: Policy) -> PixelLayout:
    """The image pixel module, checked.

    Raises:
        Rejected: `photometric`, `bits_unsupported`, `bits_inconsistent` or `size`.
    """
    if header.text(0x00280004) not in MONOCHROME:
        raise Rejected("photometric", "not MONOCHROME1 or MONOCHROME2")
    if header.short(0x00280002) not in {1, None}:
        raise Rejected("photometric", "more than one sample per pixel")
    rows, cols = header.short(0x00280010), header.short(0x00280011)
    if rows is None or cols is None:
        raise Rejected("size", "rows and columns are not one 16-bit number each")
    inside = policy.min_side <= min(rows, cols) and max(rows, cols) <= policy.max_side
    if not inside or rows * cols > policy.max_pixels:
        raise Rejected("size", "rows and columns are outside the accepted range")
    allocated, stored = header.short(0x00280100), header.short(0x00280101)
    high, sign = header.short(0x00280102), header.short(0x00280103)
    if allocated not in {8, 16}:
        raise Rejected("bits_unsupported", "samples are not in 8 or 16 bit cells")
    stored = allocated if stored is None else stored
    high = stored - 1 if high is None else high
    if not (1 <= stored <= allocated and stored - 1 <= high < allocated) or sign not in {
        0,
        1,
        None,
    }:
        raise Rejected("bits_inconsistent", "bits stored, high bit and sign do not fit the cells")
    return PixelLayout(rows, cols, allocated, stored, high, sign == 1)


def read_stored_cells(pixels: PixelBytes, syntax: str, layout: PixelLayout, little_endian: bool) -> NDArray[Any]:
    """The unsigned cells of the picture, [rows, cols], before masking.

    Raises:
        Rejected: `pixel_length` or what the decoder raises.
    """
    kind = "u1" if layout.allocated == 8 else "u2"
    if pixels.encapsulated:
        # pydicom sign-extends on its own; as unsigned cells both forms mask to the same value.
        found = decode_frame(pixels.data, syntax, layout)
        return np.ascontiguousarray(found.astype(f"<{kind}", copy=False))
    if syntax not in UNCOMPRESSED_SYNTAXES:
        raise Rejected("malformed", "a compressed syntax with uncompressed pixel data")
    data, needed = pixels.data, layout.rows * layout.cols * layout.allocated // 8
    # One pad byte is the rule, two are seen; more means that the header is about another picture.
    if not needed <= len(data) <= needed + 2:
        raise Rejected("pixel_length", "the pixel data is not rows x columns long")
    if kind == "u1" and not little_endian and pixels.vr == "OW":
        data = np.frombuffer(data[: len(data) // 2 * 2], dtype=">u2").astype("<u2").tobytes()
        if len(data) < needed:
            raise Rejected("pixel_length", "the pixel data is not rows x columns long")
    order = "<" if little_endian else ">"
    array = np.frombuffer(data, dtype=f"{order}{kind}", count=layout.rows * layout.cols)
    return array.reshape(layout.rows, layout.cols)


def compute_stored_values(levels: GreyLevels, layout: PixelLayout) -> NDArray[np.int32]:
    """The stored value of every level: cells masked to the stored bits, their sign extended.

    Raises:
        Rejected: `bits_inconsistent` where masking would tear a picture that uses more bits.
    """
    values = np.arange(levels.count, dtype=np.int32)
    values >>= layout.high_bit + 1 - layout.stored
    values &= (1 << layout.stored) - 1
    if layout.signed:
        extend_sign(values, layout.stored)
    if layout.high_bit == layout.stored - 1 < layout.allocated - 1 and has_significant_high_bits(
        levels, values, layout
    ):
        raise Rejected("bits_inconsistent", "the picture uses more bits than it claims")
    return values


def extend_sign(values: NDArray[np.int32], bits: int) -> None:
    """Extend the sign of `bits`-wide values."""
    half = 1 << (bits - 1)
    values ^= half
    values -= half


def has_significant_high_bits(levels: GreyLevels, masked: NDArray[np.int32], layout: PixelLayout) -> bool:
    """Whether the masked-off bits belong to the picture.

    Where they change from one pixel to the next, the step is smaller with them than without, more
    often than not: the picture runs on through the mask's wrap. Retired overlay planes and garbage
    make such steps larger, constant or sign bits make none (our choice of rule). Judged by at most
    sixteen strips of 64 rows.
    """
    if not layout.signed and levels.high >> layout.stored == 0:
        return False
    smaller = larger = 0
    for start in range(0, layout.rows, max(STRIP_ROWS, layout.rows // MAX_STRIPS)):
        part = slice(start, start + STRIP_ROWS)
        values = levels.cells[part].astype(np.int32)
        without = masked[values]
        if layout.signed:
            extend_sign(values, layout.allocated)
        for axis in (0, 1):
            changed = np.diff(values - without, axis=axis) != 0
            steps = np.abs(np.diff(values, axis=axis)) - np.abs(np.diff(without, axis=axis))
            smaller += int((changed & (steps < 0)).sum())
            larger += int((changed & (steps > 0)).sum())
    return smaller > larger
