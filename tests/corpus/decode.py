"""Every transfer syntax that can be written here, every bit layout, every odd wrapping."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator

import numpy as np
from pydicom import uid
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames

from medprior.dicom.decoding.samples import compress_dataset, create_sample_picture, serialise_dataset
from tests.corpus.case import (
    Array,
    Case,
    P,
    bad,
    cells,
    dataset,
    dicom,
    full,
    ok,
    relabelled,
    stored,
)

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
J = "1.2.840.10008.1.2.4."
RLE = "1.2.840.10008.1.2.5"
LOSSLESS = {
    "rle": RLE, "jpeg_lossless_57": J + "57", "jpeg_lossless_sv1": J + "70",
    "jpeg_ls": J + "80", "j2k_lossless": J + "90",
}  # fmt: skip


def in_syntax(syntax: str, array: Array, bits: int, **elements: object) -> bytes:
    """An uncompressed file in one of the four native syntaxes."""
    data = dataset(array, bits, **elements)
    data.file_meta.TransferSyntaxUID = uid.UID(syntax)
    if syntax == BIG:
        swapped = array.astype(array.dtype.newbyteorder(">")).tobytes()
        data.PixelData = swapped + b"\0" * (len(swapped) % 2)
    return serialise_dataset(data)


def packed(syntax: str, array: Array, bits: int, **elements: object) -> bytes:
    """A compressed file."""
    return serialise_dataset(compress_dataset(dataset(array, bits, **elements), syntax))


def rewrapped(change: Callable[[bytes], bytes], syntax: str = J + "70", bits: int = 12) -> bytes:
    """A compressed file whose pixel data element's value is `change(frame)`."""
    array = cells(stored(bits), size=1 if bits == 8 else 2)
    data = compress_dataset(dataset(array, bits), syntax)
    frame = next(generate_frames(data.PixelData, number_of_frames=1))
    data.PixelData = change(frame)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    return serialise_dataset(data)


def item(value: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(value)) + value


END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def pieces(frame: bytes, count: int, table: bytes = b"") -> bytes:
    """A frame in `count` fragments of even length."""
    step = (len(frame) // count + 1) // 2 * 2
    parts = [frame[i : i + step] for i in range(0, len(frame), step)]
    return item(table) + b"".join(item(part) for part in parts)


def extended(frame: bytes) -> bytes:
    return encapsulate_extended([frame])[0]


def with_comment(frame: bytes) -> bytes:
    """A JPEG with comment and application segments before its frame header."""
    return frame[:2] + b"\xff\xfe\x00\x06abcd\xff\xe5\x00\x04zz\xff" + frame[2:]


def in_jp2(frame: bytes) -> bytes:
    """A JPEG 2000 codestream inside a JP2 file, as some archives leave it."""
    rows, cols = P.shape
    box = lambda kind, body: struct.pack(">L4s", 8 + len(body), kind) + body  # noqa: E731
    ihdr = box(b"ihdr", struct.pack(">LLHBBBB", rows, cols, 1, 11, 7, 0, 0))
    colr = box(b"colr", b"\x01\0\0" + struct.pack(">L", 17))
    return (
        box(b"jP  ", b"\r\n\x87\n")
        + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
        + box(b"jp2h", ihdr + colr)
        + box(b"jp2c", frame)
    )


def native_cases() -> Iterator[Case]:
    eight = cells(stored(8), size=1)
    for name, syntax in {
        "implicit": IMPLICIT, "explicit": EXPLICIT, "deflated": DEFLATED, "big": BIG,
    }.items():  # fmt: skip
        make = functools.partial(in_syntax, syntax, cells(P), 12)
        yield from ok(f"native_{name}_16", "decode", make, full(P), syntax=syntax)
        make = functools.partial(in_syntax, syntax, eight, 8)
        yield from ok(f"native_{name}_8", "decode", make, full(eight))
        negative = cells(P - 2048, signed=True)
        make = functools.partial(in_syntax, syntax, negative, 12)
        yield from ok(f"native_{name}_signed", "decode", make, full(P))

    def big_words() -> bytes:
        data = dataset(eight, 8)
        data.file_meta.TransferSyntaxUID = uid.UID(BIG)
        data.PixelData = np.frombuffer(eight.tobytes(), "<u2").astype(">u2").tobytes()
        data["PixelData"].VR = "OW"
        return serialise_dataset(data)

    yield from ok("native_big_8_in_words", "decode", big_words, full(eight))
    odd = cells(stored(8, rows=97, cols=81), size=1)
    yield from ok("native_odd_length", "decode", lambda: dicom(odd, 8), full(odd))

    def two_more() -> bytes:
        data = dataset()
        data.PixelData = data.PixelData + b"\0\0"
        return serialise_dataset(data)

    yield from ok("native_two_bytes_more", "decode", two_more, full(P))


def bit_cases() -> Iterator[Case]:
    for bits in range(8, 17):
        values = stored(bits)
        make = functools.partial(dicom, cells(values), bits)
        yield from ok(f"bits_{bits}_unsigned", "decode", make, full(values))
        shifted = values - 2 ** (bits - 1)
        make = functools.partial(dicom, cells(shifted, True), bits)
        yield from ok(f"bits_{bits}_signed", "decode", make, full(values))
    for bits in (5, 7):
        values = stored(bits)
        make = functools.partial(dicom, cells(values, size=1), bits)
        yield from ok(f"bits_{bits}_in_8", "decode", make, full(values))
    high = cells(P << 4)
    yield from ok("high_bit_15", "decode", lambda: dicom(high, 12, HighBit=15), full(P))
    low = cells((P << 2) | 3)
    yield from ok("high_bit_13", "decode", lambda: dicom(low, 12, HighBit=13), full(P))
    rng = np.random.default_rng(5)
    upper = {
        "zero": 0,
        "overlay": (rng.random(P.shape) > 0.9).astype(np.int64) << 13,
        "garbage": rng.integers(0, 16, P.shape) << 12,
        "ones": 0xF000,
    }
    for name, extra in upper.items():
        unsigned = cells(P | extra)
        yield from ok(f"upper_{name}", "decode", functools.partial(dicom, unsigned), full(P))
        both = cells(((P - 2048) & 0xFFF) | extra).view("i2")
        yield from ok(f"upper_{name}_signed", "decode", functools.partial(dicom, both), full(P))
    overlay = {"OverlayBitsAllocated": 16, "OverlayBitPosition": 13}
    data = dataset(cells(P | upper["overlay"]))
    data.add_new(0x60000100, "US", overlay["OverlayBitsAllocated"])
    data.add_new(0x60000102, "US", overlay["OverlayBitPosition"])
    yield from ok("upper_overlay_declared", "decode", lambda: serialise_dataset(data), full(P))
    half, down = P.copy(), np.sort(P, axis=0)
    half[:, :40] = 0
    for name, values, claimed in (
        ("half_black", half, 8), ("downwards", down, 9), ("ten_claimed", P, 10),
        ("16_in_12", stored(16), 12),
    ):  # fmt: skip
        make = functools.partial(dicom, values, claimed)
        yield from bad(f"torn_bits_{name}", "decode", make, "bits_inconsistent")
    above = P.copy()
    above[0, 0] += 4096
    yield from ok("upper_one_pixel", "decode", lambda: dicom(above), full(P))
    yield from bad("eight_bits_claimed_twelve_used", "decode", lambda: dicom(P, 8), "bits_inconsistent")


def compressed_cases() -> Iterator[Case]:
    for name, syntax in LOSSLESS.items():
        for bits in (8, 12, 16):
            values = stored(bits)
            array = cells(values, size=1 if bits == 8 else 2)
            make = functools.partial(packed, syntax, array, bits)
            yield from ok(f"{name}_{bits}", "decode", make, full(values), syntax=syntax)
    for name in ("rle", "j2k_lossless", "jpeg_lossless_sv1"):
        make = functools.partial(packed, LOSSLESS[name], cells(P - 2048, True), 12)
        yield from ok(f"{name}_signed", "decode", make, full(P))
    smooth = create_sample_picture().astype(np.int64)
    eight = create_sample_picture(bits=8).astype(np.int64)
    array8 = cells(eight, size=1)
    lossy = {
        "jpeg_baseline": (J + "50", array8, 8, 4 / 255),
        "jpeg_extended_12": (J + "51", cells(smooth), 12, 6 / 4095),
        "jpeg_ls_near": (J + "81", cells(smooth), 12, 6 / 4095),
        "j2k_lossy": (J + "91", cells(smooth), 12, 12 / 4095),
    }
    for name, (syntax, array, bits, atol) in lossy.items():
        make = functools.partial(packed, syntax, array, bits)
        top = 2**bits - 1
        yield from ok(name, "decode", make, array.astype(np.float64) / top, atol=atol)

    def extended_8() -> bytes:
        data = compress_dataset(dataset(array8, 8), J + "50")
        data.file_meta.TransferSyntaxUID = uid.UID(J + "51")
        return serialise_dataset(data)

    yield from ok("jpeg_extended_8", "decode", extended_8, eight / 255, atol=4 / 255)


def wrapping_cases() -> Iterator[Case]:
    picture = full(P)
    wraps: dict[str, tuple[Callable[[bytes], bytes], str]] = {
        "two_fragments": (lambda f: pieces(f, 2) + END, J + "70"),
        "forty_fragments": (lambda f: pieces(f, 40) + END, J + "90"),
        "offset_table": (lambda f: encapsulate([f], has_bot=True), J + "80"),
        "extended_offset_table": (extended, J + "90"),
        "comments": (lambda f: encapsulate([with_comment(f)]), J + "70"),
        "trailing_zeros": (lambda f: encapsulate([f + bytes(64)]), J + "80"),
        "jp2_box": (lambda f: encapsulate([in_jp2(f)]), J + "90"),
        "rle_two_fragments": (lambda f: pieces(f, 2) + END, RLE),
        "rle_trailing": (lambda f: encapsulate([f + bytes(6)]), RLE),
        "wrong_offset_table": (lambda f: pieces(f, 1, struct.pack("<L", 999)) + END, J + "70"),
    }
    for name, (change, syntax) in wraps.items():
        make = functools.partial(rewrapped, change, syntax)
        yield from ok(f"wrapped_{name}", "decode", make, picture)
    make = functools.partial(rewrapped, lambda f: pieces(f, 1), J + "70")
    yield from ok("wrapped_no_end_mark", "decode", make, picture, codes=["truncated"])
    # A codestream that says signed under a header that says unsigned, and the other way round.
    for name, signed in (("unsigned", False), ("signed", True)):

        def lying(signed: bool = signed) -> bytes:
            array = cells(P - 2048, True) if not signed else cells(P)
            data = compress_dataset(dataset(array, 12), J + "90")
            data.PixelRepresentation = int(signed)
            return serialise_dataset(data)

        folded = (P - 2048) & 0xFFF if not signed else np.where(P >= 2048, P - 4096, P)
        yield from ok(f"j2k_header_says_{name}", "decode", lying, full(folded),
                      codes=["codestream_mismatch"])  # fmt: skip
    for name, syntax in {"video": "102", "jpip": "94", "private": "99", "withdrawn": "53"}.items():

        def odd(syntax: str = syntax) -> bytes:
            data = serialise_dataset(compress_dataset(dataset(), J + "90"))
            return relabelled(data, J + "90", J + syntax)

        yield from bad(f"syntax_{name}", "decode", odd, "syntax_unsupported", "malformed")


def cases() -> Iterator[Case]:
    """All cases of the axis."""
    yield from native_cases()
    yield from bit_cases()
    yield from compressed_cases()
    yield from wrapping_cases()
