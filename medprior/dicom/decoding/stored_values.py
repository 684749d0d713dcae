"""Converts pixel bytes to stored values: cells, bit mask and sign, as the header states."""

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
MAX_PADDING_BYTES = 2**16


def read_pixel_layout(header: Header, policy: Policy) -> PixelLayout:
    """Read and check the Image Pixel module.

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
    if not policy.accepts_shape(rows, cols):
        raise Rejected("size", "rows and columns are outside the accepted range")
    allocated, stored = header.short(0x00280100), header.short(0x00280101)
    high, sign = header.short(0x00280102), header.short(0x00280103)
    if allocated not in {8, 16}:
        raise Rejected("bits_unsupported", "BitsAllocated is not 8 or 16")
    stored = allocated if stored is None else stored
    high = stored - 1 if high is None else high
    if not (1 <= stored <= allocated and stored - 1 <= high < allocated) or sign not in {0, 1, None}:
        raise Rejected("bits_inconsistent", "bits stored, high bit and sign do not fit the cells")
    return PixelLayout(rows, cols, allocated, stored, high, sign == 1)


def read_stored_cells(pixels: PixelBytes, syntax: str, layout: PixelLayout, little_endian: bool) -> NDArray[Any]:
    """Read the unsigned cells of the picture, [rows, cols], before they are masked to the stored bits.

    Raises:
        Rejected: `pixel_length`, `malformed`, or a code of `decode_frame`.
    """
    cell_type = "u1" if layout.bits_allocated == 8 else "u2"
    if pixels.encapsulated:
        # pydicom may have extended the sign; as unsigned cells both forms mask to the same value.
        decoded = decode_frame(pixels.data, syntax, layout)
        return np.ascontiguousarray(decoded.astype(f"<{cell_type}", copy=False))
    if syntax not in UNCOMPRESSED_SYNTAXES:
        raise Rejected("malformed", "a compressed syntax with uncompressed pixel data")
    data, expected_bytes = pixels.data, layout.rows * layout.cols * layout.bits_allocated // 8
    spare = data[expected_bytes : expected_bytes + MAX_PADDING_BYTES + 1]
    if len(data) < expected_bytes or not is_trailing_padding(spare, layout):
        raise Rejected("pixel_length", "the pixel data is not rows x columns long")
    if cell_type == "u1" and not little_endian and pixels.vr == "OW":
        data = np.frombuffer(data[: len(data) // 2 * 2], dtype=">u2").astype("<u2").tobytes()
        if len(data) < expected_bytes:
            raise Rejected("pixel_length", "the pixel data is not rows x columns long")
    order = "<" if little_endian else ">"
    array = np.frombuffer(data, dtype=f"{order}{cell_type}", count=layout.rows * layout.cols)
    return array.reshape(layout.rows, layout.cols)


def is_trailing_padding(spare: bytes, layout: PixelLayout) -> bool:
    """Whether the bytes behind the last row are padding, which readers ignore (PS3.5 8.1.1).

    They are if they are shorter than one row and one column, or all the same, shorter than the picture and
    at most 64 KiB (our choice of limits). Otherwise the header describes another picture.
    """
    cell_bytes = layout.bits_allocated // 8
    if len(spare) <= 2 or len(spare) < min(layout.rows, layout.cols) * cell_bytes:
        return True
    limit = min(MAX_PADDING_BYTES, layout.rows * layout.cols * cell_bytes - 1)
    return len(spare) <= limit and spare.count(spare[:1]) == len(spare)


def compute_stored_values(levels: GreyLevels, layout: PixelLayout) -> NDArray[np.int32]:
    """Compute the stored value of every level: cells masked to the stored bits, sign extended.

    Raises:
        Rejected: `bits_inconsistent`, the picture uses bits above the stored ones.
    """
    values = np.arange(levels.count, dtype=np.int32)
    values >>= layout.high_bit + 1 - layout.bits_stored
    values &= (1 << layout.bits_stored) - 1
    if layout.signed:
        extend_sign(values, layout.bits_stored)
    if layout.high_bit == layout.bits_stored - 1 < layout.bits_allocated - 1 and has_significant_high_bits(
        levels, values, layout
    ):
        raise Rejected("bits_inconsistent", "the picture uses more bits than its header states")
    return values


def extend_sign(values: NDArray[np.int32], bits: int) -> None:
    """Extend the sign of values of `bits` bits, in place."""
    half = 1 << (bits - 1)
    values ^= half
    values -= half


def has_significant_high_bits(levels: GreyLevels, masked: NDArray[np.int32], layout: PixelLayout) -> bool:
    """Whether the masked-off bits belong to the picture.

    They do if, among neighbouring pixels whose masked-off bits differ, the step between the two
    values is more often smaller with these bits than without: the picture continues beyond the
    range of the mask. Retired overlay planes and garbage make steps larger; constant and sign bits
    do not differ (our choice of rule). At most sixteen strips of 64 rows are compared.
    """
    if not layout.signed and levels.high >> layout.bits_stored == 0:
        return False
    smaller_steps = larger_steps = 0
    for start in range(0, layout.rows, max(STRIP_ROWS, layout.rows // MAX_STRIPS)):
        values = levels.cells[start : start + STRIP_ROWS].astype(np.int32)
        masked_values = masked[values]
        if layout.signed:
            extend_sign(values, layout.bits_allocated)
        for axis in (0, 1):
            changed = np.diff(values - masked_values, axis=axis) != 0
            steps = np.abs(np.diff(values, axis=axis)) - np.abs(np.diff(masked_values, axis=axis))
            smaller_steps += int((changed & (steps < 0)).sum())
            larger_steps += int((changed & (steps > 0)).sum())
    return smaller_steps > larger_steps
