"""Reads the bytes of the top-level pixel data: native, or the fragments of encapsulated frames."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import BinaryIO

from medprior.dicom.parsing import ParsedHeader
from medprior.dicom.structure import ITEM_TAG, LONG_VRS, SEQUENCE_END_TAG, UNDEFINED_LENGTH
from medprior.errors import Rejected

PIXEL_DATA = 0x7FE00010
FLOAT_PIXEL_TAGS = {0x7FE00008, 0x7FE00009}
MAX_FRAGMENTS = 65536


@dataclass(frozen=True)
class PixelBytes:
    """Pixel data as stored.

    Attributes:
        data: native samples, or one compressed codestream; empty where `frames` is set.
        encapsulated: whether the pixels are compressed.
        vr: OB or OW.
        frames: codestreams of the frames of a compressed multi-frame object.
    """

    data: bytes
    encapsulated: bool
    vr: str
    frames: tuple[bytes, ...] = ()


def read_pixel_bytes(parsed: ParsedHeader, frame_count: int | None = None) -> PixelBytes:
    """Read the pixel data that follows the header at which `parsed` stopped.

    Args:
        parsed: header and stream.
        frame_count: number of frames of a multi-frame object; None for a single image.

    Raises:
        Rejected: `no_pixels`, `bits_unsupported`, `truncated` or `malformed`.
    """
    stream, order = parsed.stream, "<" if parsed.header.little_endian else ">"
    while True:
        head = stream.read(4)
        if len(head) < 4:
            raise Rejected("no_pixels", "the file has no pixel data")
        group, element = struct.unpack(f"{order}HH", head)
        tag = group << 16 | element
        vr, length = read_element_header(stream, parsed.implicit, order)
        if tag in FLOAT_PIXEL_TAGS:
            raise Rejected("bits_unsupported", "floating-point pixel data")
        bytes_remaining = parsed.size - stream.tell()
        if length != UNDEFINED_LENGTH and length > bytes_remaining:
            raise Rejected("truncated", "the pixel data is longer than the rest of the file")
        if tag == PIXEL_DATA:
            break
        if tag > PIXEL_DATA or length == UNDEFINED_LENGTH:
            raise Rejected("no_pixels", "the file has no pixel data")
        stream.seek(length, io.SEEK_CUR)
    if length == 0:
        raise Rejected("no_pixels", "the pixel data is empty")
    if length == UNDEFINED_LENGTH:
        offsets, fragments = read_fragments(stream, bytes_remaining)
        if frame_count is None:
            return PixelBytes(b"".join(fragments), True, "OB")
        return PixelBytes(b"", True, "OB", tuple(group_fragments(offsets, fragments, frame_count)))
    return PixelBytes(stream.read(length), False, vr)


def read_element_header(stream: BinaryIO, implicit: bool, order: str) -> tuple[str, int]:
    """Read the VR and the length of the element whose tag was just read.

    Raises:
        Rejected: `truncated`, the element header is incomplete.
    """
    try:
        if implicit:
            return "OW", struct.unpack(f"{order}L", stream.read(4))[0]
        vr, short_length = struct.unpack(f"{order}2sH", stream.read(4))
        if vr in LONG_VRS:
            return vr.decode(), struct.unpack(f"{order}L", stream.read(4))[0]
        return vr.decode("latin-1"), short_length
    except struct.error:
        raise Rejected("truncated", "the file ends inside an element header") from None


def read_fragments(stream: BinaryIO, bytes_remaining: int) -> tuple[bytes, list[bytes]]:
    """Read the basic offset table and all fragments.

    Raises:
        Rejected: `truncated`, `malformed` or `no_pixels`.
    """
    items: list[bytes] = []
    while len(items) <= MAX_FRAGMENTS:
        head = stream.read(8)
        if len(head) < 8:
            raise Rejected("truncated", "the compressed data has no end mark")
        group, element, length = struct.unpack("<HHL", head)
        bytes_remaining -= 8
        if group << 16 | element == SEQUENCE_END_TAG:
            break
        if group << 16 | element != ITEM_TAG or length == UNDEFINED_LENGTH:
            raise Rejected("malformed", "the compressed data is not made of items")
        if length > bytes_remaining:
            raise Rejected("truncated", "a fragment is longer than the rest of the file")
        bytes_remaining -= length
        items.append(stream.read(length))
    else:
        raise Rejected("malformed", f"more than {MAX_FRAGMENTS} fragments")
    if not any(items[1:]):
        raise Rejected("no_pixels", "the compressed data is empty")
    return items[0], items[1:]


def group_fragments(offsets: bytes, fragments: list[bytes], frame_count: int) -> list[bytes]:
    """Join the fragments of each frame: one fragment a frame, else as the basic offset table says.

    Raises:
        Rejected: `malformed`, the table does not tell the frames apart.
    """
    if frame_count == 1:
        return [b"".join(fragments)]
    if len(fragments) == frame_count:
        return fragments
    starts = struct.unpack(f"<{len(offsets) // 4}L", offsets[: len(offsets) // 4 * 4])
    positions = accumulate((len(fragment) + 8 for fragment in fragments[:-1]), initial=0)
    index_by_position = {position: index for index, position in enumerate(positions)}
    is_ordered = len(starts) == frame_count and starts[0] == 0 and sorted(set(starts)) == list(starts)
    if not is_ordered or not index_by_position.keys() >= set(starts):
        raise Rejected("malformed", "the compressed data does not tell its frames apart")
    bounds = [*(index_by_position[start] for start in starts), len(fragments)]
    return [b"".join(fragments[first:end]) for first, end in pairwise(bounds)]
