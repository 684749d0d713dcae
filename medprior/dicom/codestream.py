"""What a compressed frame says of itself, read before any decoder sees it."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from medprior.errors import Rejected

SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}
STANDALONE = {0x01, *range(0xD0, 0xD9)}
MOST_SEGMENTS, MOST_SCANS = 10_000, 100
FILL = re.compile(rb"\xff*")


@dataclass(frozen=True)
class Codestream:
    """Size, components and bits per sample that a codestream announces."""

    rows: int
    cols: int
    components: int
    precision: int


def jpeg(data: bytes) -> Codestream:
    """Read the frame header of a JPEG or JPEG-LS stream.

    Raises:
        Rejected: `codestream`, it has none; `too_large`, it has too many scans.
    """
    position = 2
    if data[:2] != b"\xff\xd8":
        raise Rejected("codestream", "the compressed data is no JPEG stream")
    check_scans(data)
    for _ in range(MOST_SEGMENTS):
        if position + 4 > len(data) or data[position] != 0xFF:
            break
        fill = FILL.match(data, position)
        position = fill.end() - 1 if fill else position
        if position + 4 > len(data):
            break
        marker = data[position + 1]
        if marker in STANDALONE:
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in SOF and position + 10 <= len(data):
            precision, rows, cols, count = struct.unpack_from(">BHHB", data, position + 4)
            return Codestream(rows, cols, count, precision)
        if marker == 0xDA or length < 2:
            break
        position += 2 + length
    raise Rejected("codestream", "the JPEG stream has no frame header")


def check_scans(data: bytes) -> None:
    """Rejected where a JPEG paints its picture more often than any needs: each takes as long."""
    if data.count(b"\xff\xda") > MOST_SCANS:
        raise Rejected("too_large", f"more than {MOST_SCANS} scans")


def jpeg2000(data: bytes) -> Codestream:
    """Read the SIZ segment of a JPEG 2000 stream, bare or in a JP2 file.

    Raises:
        Rejected: `codestream`, it has none.
    """
    start = data.find(b"\xff\x4f\xff\x51", 0, 65536)
    if start < 0 or start + 41 > len(data):
        raise Rejected("codestream", "the compressed data is no JPEG 2000 stream")
    fields = struct.unpack_from(">LLLLLLLLH", data, start + 8)
    width, height, left, top, tile_width, tile_height, tile_left, tile_top, count = fields
    tiles = max(tile_width, 1) * max(tile_height, 1)
    if not tile_width or not tile_height or (width * height) // tiles > 65535:
        raise Rejected("codestream", "the JPEG 2000 stream has impossible tiles")
    if tile_left > left or tile_top > top:
        raise Rejected("codestream", "the JPEG 2000 stream has impossible tiles")
    return Codestream(height - top, width - left, count, (data[start + 42 - 2] & 0x7F) + 1)


def rle(data: bytes, rows: int, cols: int, allocated: int) -> Codestream:
    """Check the segment table of an RLE frame.

    Raises:
        Rejected: `codestream`, the table does not fit the data.
    """
    if len(data) < 64:
        raise Rejected("codestream", "the RLE frame is shorter than its header")
    count, *offsets = struct.unpack("<16L", data[:64])
    used = offsets[:count]
    fits = used[:1] == [64] and used == sorted(used) and used[-1] <= len(data)
    if count != allocated // 8 or not fits:
        raise Rejected("codestream", "the RLE segment table does not fit the frame")
    return Codestream(rows, cols, 1, allocated)
