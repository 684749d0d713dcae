"""Small files that ask for much: memory, time, depth, counts."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from medprior.dicom.decoding.samples import compress_dataset, serialise_dataset
from tests.corpus.case import (
    Case,
    P,
    bad,
    body_at,
    cells,
    dataset,
    dicom,
    element,
    full,
    inserted,
    ok,
    relabelled,
    stored,
)
from tests.corpus.decode import DEFLATED, IMPLICIT, RLE, J, in_syntax, item
from tests.corpus.malformed import END, ITEM_END, SEQUENCE_END, nested

AXIS = "resource"
ANY = (
    "memory", "timeout", "worker_died", "too_large", "size", "decode_failed", "codestream",
    "codestream_mismatch", "constant", "truncated", "malformed", "too_deep", "too_many_elements",
    "no_pixels", "pixel_length",
)  # fmt: skip
VAST = (12000, 16000)


def in_frame(frame: bytes, syntax: str, rows: int, cols: int, bits: int) -> bytes:
    """A header that agrees with a hostile codestream."""
    data = dataset(cells(stored(bits), size=1 if bits == 8 else 2), bits, Rows=rows, Columns=cols)
    data.PixelData = encapsulate([frame])
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = uid.UID(syntax)
    return serialise_dataset(data)


def patched(syntax: str, bits: int) -> bytes:
    """A small real codestream that announces a vast picture."""
    array = cells(stored(bits), size=1 if bits == 8 else 2)
    data = compress_dataset(dataset(array, bits), syntax)
    frame = bytearray(next(generate_frames(data.PixelData, number_of_frames=1)))
    rows, cols = VAST
    if syntax in {J + "90", J + "91"}:
        at = frame.index(b"\xff\x4f\xff\x51") + 8
        struct.pack_into(">LLLLLL", frame, at, cols, rows, 0, 0, cols, rows)
    else:
        at = next(i for i in range(2, len(frame)) if frame[i] == 0xFF and frame[i + 1] in
                  {0xC0, 0xC1, 0xC3, 0xF7})  # fmt: skip
        struct.pack_into(">HH", frame, at + 5, rows, cols)
    return in_frame(bytes(frame), syntax, rows, cols, bits)


def blank_jpeg_ls() -> bytes:
    data = compress_dataset(dataset(np.zeros((6000, 8000), "u2")), J + "80")
    return serialise_dataset(data)


def blank_rle(pattern: bytes) -> bytes:
    """An RLE picture of one repeated byte, as small as RLE can be."""
    rows, cols = 8000, 12000
    run = struct.pack("bB", -127, pattern[0]) * (rows * cols // 128)
    other = struct.pack("bB", -127, pattern[1]) * (rows * cols // 128)
    frame = struct.pack("<16L", 2, 64, 64 + len(run), *[0] * 13) + run + other
    return in_frame(frame, RLE, rows, cols, 12)


def striped_rle() -> bytes:
    """An RLE picture of 96 megapixels with two values."""
    rows, cols = 8000, 12000
    half = rows * cols // 256
    run = struct.pack("bB", -127, 0) * half + struct.pack("bB", -127, 9) * half
    frame = struct.pack("<16L", 2, 64, 64 + len(run), *[0] * 13) + run + run
    return in_frame(frame, RLE, rows, cols, 12)


def deflated(extra: bytes, pixels: bool = False) -> bytes:
    """A deflated data set with a tail that inflates to much."""
    data = relabelled(dicom(P), "1.2.840.10008.1.2.1", DEFLATED)
    body = body_at(data)
    machine = zlib.compressobj(9, wbits=-15)
    inner = data[body:]
    if pixels:
        inner = inserted(dicom(P), element(0x00291001, "OB", extra))[body_at(dicom(P)) :]
        extra = b""
    return data[:body] + machine.compress(inner) + machine.compress(extra) + machine.flush()


def png(rows: int, cols: int, depth: int = 8) -> bytes:
    """A blank PNG, made a row at a time."""
    machine = zlib.compressobj(9)
    line = bytes(1 + cols * depth // 8)
    body = b"".join(machine.compress(line) for _ in range(rows)) + machine.flush()
    return png_of(rows, cols, depth, [(b"IDAT", body)])


def png_of(rows: int, cols: int, depth: int, chunks: list[tuple[bytes, bytes]]) -> bytes:
    head = struct.pack(">LLBBBBB", cols, rows, depth, 0, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body)) for kind, body in parts
    )


def png_text() -> bytes:
    text = b"k\0\0" + zlib.compress(bytes(200_000_000), 9)
    rows = zlib.compress(b"".join(b"\0" + bytes(range(80)) for _ in range(96)))
    return png_of(96, 80, 8, [(b"zTXt", text), (b"IDAT", rows)])


def jpeg(rows: int, cols: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (cols, rows)).save(stream, "JPEG", quality=1)
    return stream.getvalue()


def scans() -> bytes:
    """A progressive JPEG with thousands of scans."""
    stream = io.BytesIO()
    Image.fromarray(np.tile(stored(8).astype("u1"), (20, 20))).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    return data[:second] + data[first:second] * 3000 + data[second:]


def implicit_with(tag: int, value: bytes) -> bytes:
    """An implicit file with one long element."""
    data = in_syntax(IMPLICIT, cells(P), 12)
    at = data.index(struct.pack("<HH", 0x0028, 0x0100))
    return data[:at] + struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value + data[at:]


def windows(count: int) -> bytes:
    """A window with very many alternatives."""
    text = b"\\".join([b"1000"] * count)
    data = in_syntax(IMPLICIT, cells(P), 12)
    at = data.index(struct.pack("<HH", 0x7FE0, 0x0010))
    extra = b"".join(struct.pack("<HHL", 0x0028, e, len(text)) + text for e in (0x1050, 0x1051))
    return data[:at] + extra + data[at:]


def polygon(count: int) -> bytes:
    rng = np.random.default_rng(3)
    text = b"\\".join(str(n).encode() for n in rng.integers(1, 80, 2 * count))
    data = in_syntax(IMPLICIT, cells(P), 12)
    at = data.index(struct.pack("<HH", 0x0018, 0x5101))
    extra = struct.pack("<HHL", 0x0018, 0x1600, 10) + b"POLYGONAL "
    extra += struct.pack("<HHL", 0x0018, 0x1620, len(text)) + text
    return data[:at] + extra + data[at:]


def many(tag: int, count: int) -> bytes:
    """A sequence of very many empty items, of undefined length."""
    items = (b"\xfe\xff\x00\xe0\0\0\0\0") * count
    return element(tag, "SQ", b"", 0xFFFFFFFF) + items + SEQUENCE_END


def defined(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = element(0x00082218, "SQ", item(inner))
    return inner


def codec_cases() -> Iterator[Case]:
    for name, syntax, bits in (
        ("j2k", J + "90", 12), ("j2k_lossy", J + "91", 12), ("jpeg_ls", J + "80", 12),
        ("jpeg_lossless", J + "70", 12), ("jpeg_57", J + "57", 16), ("jpeg_baseline", J + "50", 8),
        ("jpeg_extended", J + "51", 12),
    ):  # fmt: skip
        yield from bad(f"vast_{name}", AXIS, functools.partial(patched, syntax, bits), *ANY)
    yield from bad("blank_jpeg_ls", AXIS, blank_jpeg_ls, *ANY)
    yield from bad("blank_rle", AXIS, lambda: blank_rle(b"\0\0"), *ANY)
    yield Case("striped_rle", AXIS, striped_rle, np.ones((8000, 12000)), 1.0, frozenset(ANY))
    yield from bad("vast_native", AXIS, lambda: dicom(P, Rows=12000, Columns=16000), *ANY)
    yield from bad("vast_header", AXIS, lambda: dicom(P, Rows=65535, Columns=65535), "size")
    fill = b"\xff\xd8" + b"\xff" * 20_000_000 + b"\xd9"
    yield from bad("jpeg_fill", AXIS, lambda: in_frame(fill, J + "70", 96, 80, 12), *ANY)
    tiny = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 4_000_000
    yield from bad("jpeg_segments", AXIS, lambda: in_frame(tiny, J + "70", 96, 80, 12), *ANY)
    tiles = bytearray(compress_dataset(dataset(), J + "90").PixelData[16:])
    yield from bad("j2k_tiles", AXIS, lambda: tiled(bytes(tiles)), *ANY)
    none = item(b"") * 1_000_000
    yield from bad("fragments", AXIS, lambda: fragments(none), *ANY)
    bits = in_frame(scans(), J + "50", 1920, 1600, 8)
    # Many scans of a picture are a picture still: any will do, if it comes in time.
    big = np.ones((1920, 1600))
    yield Case("progressive_scans", AXIS, lambda: bits, big, 1.0, frozenset(ANY))


def tiled(frame: bytes) -> bytes:
    """A JPEG 2000 picture of very many tiles."""
    data = bytearray(frame)
    at = data.index(b"\xff\x4f\xff\x51") + 8
    struct.pack_into(">LLLLLL", data, at, 16000, 12000, 0, 0, 55, 55)
    return in_frame(bytes(data), J + "90", 12000, 16000, 12)


def fragments(value: bytes) -> bytes:
    data = dicom(P)
    at = data.index(b"\xe0\x7f\x10\x00OW")
    head = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
    return relabelled(data[:at] + head + value + END, "1.2.840.10008.1.2.1", J + "70")


def raster_cases() -> Iterator[Case]:
    yield from bad("png_blank", AXIS, lambda: png(12000, 16000), *ANY)
    yield from bad("png_blank_16", AXIS, lambda: png(8000, 16000, 16), *ANY)
    yield from bad("png_vast", AXIS, lambda: png(96, 80)[:16] + struct.pack(">LL", 60000, 60000)
                   + png(96, 80)[24:], "size", "decode_failed")  # fmt: skip
    yield Case("png_text", AXIS, png_text, np.tile(np.arange(80) / 255, (96, 1)), 1e-6, frozenset(ANY))
    yield from bad("jpeg_blank", AXIS, lambda: jpeg(12000, 16000), *ANY)
    yield Case("jpeg_scans", AXIS, scans, np.ones((1920, 1600)), 1.0, frozenset(ANY))


def count_cases() -> Iterator[Case]:
    good = dicom(P)
    tags = b"".join(struct.pack("<HH2sH", 0x0011, i & 0xFFFF, b"LO", 0) for i in range(1_000_000))
    yield from bad("elements", AXIS, lambda: inserted(good, tags), "too_many_elements", "malformed")
    inner = element(0x00081140, "SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    hidden = inserted(good, inner + tags + ITEM_END + SEQUENCE_END, 0x00100020)
    lying = relabelled(hidden, "1.2.840.10008.1.2.1", IMPLICIT)
    yield from bad("elements_under_a_lie", AXIS, lambda: lying, "too_many_elements", "malformed")
    below = b"".join(struct.pack("<HH2sH", 0x0011, i, b"LO", 0) for i in range(60_000))
    yield from ok("elements_below_the_limit", AXIS, lambda: inserted(good, below), full(P))
    inside = element(0x00291001, "SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    inside += tags + ITEM_END + SEQUENCE_END
    yield Case("elements_inside", AXIS, lambda: inserted(good, inside), full(P), 2e-6, frozenset(ANY))
    for name, tag in (("needed", 0x00082218), ("other", 0x00081140)):
        yield Case(f"items_{name}", AXIS,
                   lambda tag=tag: inserted(good, many(tag, 1_000_000), 0x00100020), full(P), 2e-6,
                   frozenset(ANY))  # fmt: skip
    for depth in (100, 1000, 20_000):
        yield from bad(f"nested_{depth}", AXIS,
                       lambda depth=depth: inserted(good, nested(depth), 0x00100020), "too_deep",
                       "malformed")  # fmt: skip
    yield Case("nested_defined", AXIS, lambda: inserted(good, defined(1500), 0x00100020), full(P),
               2e-6, frozenset({"too_deep", "malformed"}))  # fmt: skip
    picture = np.clip((P - 999.5) / 999 + 0.5, 0, 1)
    yield from ok("windows", AXIS, lambda: windows(1_000_000), picture, codes=ANY)
    yield Case("polygon", AXIS, lambda: polygon(300_000), full(P), 1.0, frozenset(ANY))
    for name, tag in (
        ("explanation", 0x00281055), ("function", 0x00281056), ("private", 0x00291001),
        ("charset", 0x00080005), ("patient", 0x00100020), ("study", 0x0020000D),
    ):  # fmt: skip
        for size, value in (("60_mb", b"x" * 60_000_000), ("8_mb", b"\\\xc3" * 4_000_000)):
            make = functools.partial(implicit_with, tag, value)
            yield Case(f"long_{name}_{size}", AXIS, make, full(P), 2e-6, frozenset(ANY))
    tail = functools.partial(deflated, bytes(600_000_000))
    yield Case("deflate_tail", AXIS, tail, full(P), 2e-6, frozenset(ANY))
    yield Case("deflate_element", AXIS, lambda: deflated(bytes(600_000_000), True), full(P), 2e-6,
               frozenset(ANY))  # fmt: skip


def cases() -> Iterator[Case]:
    """All cases of the axis."""
    yield from codec_cases()
    yield from raster_cases()
    yield from count_cases()
