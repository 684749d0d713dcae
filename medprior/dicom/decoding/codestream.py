"""Reads the header of a compressed frame (JPEG, JPEG-LS, JPEG 2000, RLE) before a decoder sees it."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from medprior.errors import Rejected

JPEG_LS_MARKER = 0xF7
SOF_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {JPEG_LS_MARKER}
STANDALONE_MARKERS = {0x01, *range(0xD0, 0xD9)}
MAX_SEGMENTS, MAX_SCANS = 10_000, 100
FILL_BYTES = re.compile(rb"\xff*")


@dataclass(frozen=True)
class CodestreamHeader:
    """Size, components and bits per sample that a codestream announces."""

    rows: int
    cols: int
    components: int
    precision: int


def read_jpeg_header(data: bytes) -> CodestreamHeader:
    """Read the frame header of a JPEG or JPEG-LS stream.

    Raises:
        Rejected: `codestream`, there is no frame header, or a JPEG-LS stream does not end; `too_large`, too many scans.
    """
    position = 2
    if data[:2] != b"\xff\xd8":
        raise Rejected("codestream", "the compressed data is not a JPEG stream")
    check_scan_count(data)
    for _ in range(MAX_SEGMENTS):
        if position + 4 > len(data) or data[position] != 0xFF:
            break
        fill = FILL_BYTES.match(data, position)
        position = fill.end() - 1 if fill else position
        if position + 4 > len(data):
            break
        marker = data[position + 1]
        if marker in STANDALONE_MARKERS:
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in SOF_MARKERS and position + 10 <= len(data):
            if marker == JPEG_LS_MARKER and data.find(b"\xff\xd9", position) < 0:
                # Coded data cannot hold the end marker; decoders may spend seconds on a stream without it.
                raise Rejected("codestream", "the JPEG-LS stream is cut off")
            precision, rows, cols, count = struct.unpack_from(">BHHB", data, position + 4)
            return CodestreamHeader(rows, cols, count, precision)
        if marker == 0xDA or length < 2:
            break
        position += 2 + length
    raise Rejected("codestream", "the JPEG stream has no frame header")


def check_scan_count(data: bytes) -> None:
    """Refuse a JPEG with more than `MAX_SCANS` scans (`too_large`): each is a pass over the picture."""
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise Rejected("too_large", f"more than {MAX_SCANS} scans")


def read_jpeg2000_header(data: bytes) -> CodestreamHeader:
    """Read the SIZ segment of a JPEG 2000 stream, bare or in a JP2 file.

    Raises:
        Rejected: `codestream`, there is no SIZ segment, or its tile size or offset contradicts the image size.
    """
    start = data.find(b"\xff\x4f\xff\x51", 0, 65536)
    if start < 0 or start + 43 > len(data):
        raise Rejected("codestream", "the compressed data is not a JPEG 2000 stream")
    fields = struct.unpack_from(">LLLLLLLLH", data, start + 8)
    width, height, x_offset, y_offset, tile_width, tile_height, tile_x, tile_y, count = fields
    tiles = max(tile_width, 1) * max(tile_height, 1)
    impossible_size = not tile_width or not tile_height or (width * height) // tiles > 65535
    if impossible_size or tile_x > x_offset or tile_y > y_offset:
        raise Rejected("codestream", "the tile size or offset of the JPEG 2000 stream contradicts the image size")
    return CodestreamHeader(height - y_offset, width - x_offset, count, (data[start + 42] & 0x7F) + 1)


def read_rle_header(data: bytes, rows: int, cols: int, allocated: int) -> CodestreamHeader:
    """Check the segment table of an RLE frame.

    Raises:
        Rejected: `codestream`, the table does not fit the data.
    """
    if len(data) < 64:
        raise Rejected("codestream", "the RLE frame is shorter than its header")
    count, *offsets = struct.unpack("<16L", data[:64])
    starts = offsets[:count]
    fits = starts[:1] == [64] and starts == sorted(starts) and starts[-1] <= len(data)
    if count != allocated // 8 or not fits:
        raise Rejected("codestream", "the RLE segment table does not fit the frame")
    return CodestreamHeader(rows, cols, 1, allocated)
