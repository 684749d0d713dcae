"""Reads the bytes of the top-level pixel data: native, or the fragments of one encapsulated frame."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
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
        data: native samples, or one compressed codestream.
        encapsulated: whether `data` is a codestream.
        vr: OB or OW.
    """

    data: bytes
    encapsulated: bool
    vr: str


def read_pixel_bytes(parsed: ParsedHeader) -> PixelBytes:
    """Read the pixel data that follows the header at which `parsed` stopped.

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
        return PixelBytes(join_frame_fragments(stream, bytes_remaining), True, "OB")
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


def join_frame_fragments(stream: BinaryIO, bytes_remaining: int) -> bytes:
    """Join all fragments of a single-frame image, without its basic offset table.

    Raises:
        Rejected: `truncated`, `malformed` or `no_pixels`.
    """
    fragments: list[bytes] = []
    is_offset_table = True
    while len(fragments) < MAX_FRAGMENTS:
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
        data = stream.read(length)
        if not is_offset_table:
            fragments.append(data)
        is_offset_table = False
    else:
        raise Rejected("malformed", f"more than {MAX_FRAGMENTS} fragments")
    if not any(fragments):
        raise Rejected("no_pixels", "the compressed data is empty")
    return b"".join(fragments)
