"""Decodes the frames of a segmentation object: bits, bytes or label maps, native or compressed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.decoding.decoders import PixelLayout, decode_frame
from medprior.dicom.decoding.pixel_bytes import read_pixel_bytes
from medprior.dicom.header import Header
from medprior.dicom.parsing import ParsedHeader, inflate_dataset
from medprior.errors import Rejected

MAX_FRAMES = 1000
# Deflated Image Frame Compression (PS3.5 A.4.13), in which viewers keep masks of one bit and label maps.
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"


def read_frame_count(header: Header) -> int:
    """Read the number of frames.

    Raises:
        Rejected: `geometry`, none or more than `MAX_FRAMES`.
    """
    count = next((int(number) for number in header.decimals(0x00280008) if number == number), 1)
    if not 1 <= count <= MAX_FRAMES:
        raise Rejected("geometry", f"more than {MAX_FRAMES} frames, or none")
    return count


def decode_frames(parsed: ParsedHeader, shape: tuple[int, int], count: int) -> Iterator[NDArray[np.generic]]:
    """Decode one frame after the other, [rows, cols] as stored; of a fractional object, whether at least one half.

    Args:
        parsed: header and stream; it must stay open while frames are taken.
        shape: rows and columns.
        count: number of frames.

    Raises:
        Rejected: `malformed`, or a code of the decoders.
    """
    header = parsed.header
    bits, pixels = header.short(0x00280100) or 0, shape[0] * shape[1]
    pixel_bytes = read_pixel_bytes(parsed, count)
    if bits not in {1, 8, 16} or (not pixel_bytes.encapsulated and len(pixel_bytes.data) * 8 < count * pixels * bits):
        raise Rejected("malformed", "the segmentation's pixels do not fill its frames")
    is_fractional = header.text(0x00620001) == "FRACTIONAL"
    for index in range(count):
        if pixel_bytes.encapsulated:
            frame = decode_compressed_frame(pixel_bytes.frames[index], parsed.syntax, shape, bits)
        else:
            frame = unpack_samples(pixel_bytes.data, index * pixels, shape, bits, header.little_endian)
        yield np.asarray(2 * frame.astype(np.int32) >= (header.short(0x0062000E) or 255)) if is_fractional else frame


def unpack_samples(
    data: bytes, first: int, shape: tuple[int, int], bits: int, little_endian: bool
) -> NDArray[np.generic]:
    """The samples of one frame that starts at sample number `first`; frames of one bit need not start at a byte."""
    count = shape[0] * shape[1]
    if bits > 1:
        order = "<" if little_endian else ">"
        return np.frombuffer(data, f"{order}u{bits // 8}", count, first * bits // 8).reshape(shape)
    start, skipped = divmod(first, 8)
    packed = np.frombuffer(data, np.uint8, -(-(skipped + count) // 8), start)
    return np.unpackbits(packed, count=skipped + count, bitorder="little")[skipped:].reshape(shape)


def decode_compressed_frame(data: bytes, syntax: str, shape: tuple[int, int], bits: int) -> NDArray[np.generic]:
    """Decode one compressed frame.

    Raises:
        Rejected: `malformed`, or a code of the decoders.
    """
    if syntax == DEFLATED_FRAMES:
        size = -(-shape[0] * shape[1] * bits // 8)
        inflated = inflate_dataset(data, size + 1)
        if len(inflated) < size:
            raise Rejected("malformed", "the segmentation's pixels do not fill its frames")
        return unpack_samples(inflated, 0, shape, bits, True)
    if bits == 1:
        raise Rejected("bits_unsupported", "compressed masks of one bit a pixel")
    return decode_frame(data, syntax, PixelLayout(*shape, bits, bits, bits - 1, False))
