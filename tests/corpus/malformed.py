"""Broken, cut, mislabelled and mis-encoded files: read right, or refused with a fitting code."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from pydicom import uid

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
)  # fmt: skip
from tests.corpus.decode import BIG, DEFLATED, IMPLICIT, J, in_syntax, item, packed, rewrapped

AXIS = "malformed"
CUT = ("truncated", "no_pixels", "malformed")
SQ = 0x00081140


def container_cases() -> Iterator[Case]:
    good = dicom(P)

    def zipped() -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a.dcm", good)
        return stream.getvalue()

    def tarred() -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            info = tarfile.TarInfo("a.dcm")
            info.size = len(good)
            archive.addfile(info, io.BytesIO(good))
        return stream.getvalue()

    others = {
        "zero_bytes": b"", "one_byte": b"\0", "zeros": bytes(4096), "gzip": gzip.compress(good),
        "bzip2": bz2.compress(good), "xz": lzma.compress(good), "zip": zipped(), "tar": tarred(),
        "html": b"<!DOCTYPE html><html>" + b"x" * 500, "text": b"hello world\n" * 40,
        "json": b'{"a": 1}' * 40, "xml": b'<?xml version="1.0"?>' * 20, "pdf": b"%PDF-1.7\n" * 40,
        "gif": b"GIF89a" + bytes(400), "tiff": b"II*\0" + bytes(400), "bmp": b"BM" + bytes(400),
        "appledouble": b"\x00\x05\x16\x07" + bytes(400), "elf": b"\x7fELF" + bytes(400),
        "nifti": struct.pack("<i", 348) + bytes(348), "npy": b"\x93NUMPY\x01\x00v\x00" + bytes(200),
        "pickle": b"\x80\x04\x95cposix\nsystem\n" + bytes(200), "dicm_only": bytes(128) + b"DICM",
        "preamble_only": bytes(128), "dicm_at_0": b"DICM" + good[132:], "random":
        np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8).tobytes(),
    }  # fmt: skip
    for name, data in others.items():
        yield from bad(
            f"content_{name}", AXIS, lambda data=data: data,
            "empty", "not_dicom", "truncated", "malformed", "not_an_image", "sop_class",
        )  # fmt: skip
    preambles = {"tiff": b"II*\0" + bytes(124), "exe": b"MZ" + bytes(126), "text": b"a" * 128}
    for name, head in preambles.items():
        yield from ok(f"preamble_{name}", AXIS, lambda head=head: head + dicom(P)[128:], full(P))


def cut_cases() -> Iterator[Case]:
    good = dicom(P)
    begin = body_at(good)
    pixels = len(good) - P.size * 2
    places = {
        "in_meta": 150, "before_body": begin, "in_first": begin + 3, "in_tag": begin + 41,
        "before_pixels": pixels - 12, "in_pixel_head": pixels - 6, "no_pixel_bytes": pixels,
        "half": pixels + P.size, "one_short": len(good) - 1, "one_row": len(good) - 2 * P.shape[1],
    }  # fmt: skip
    for name, length in places.items():
        yield from bad(
            f"cut_{name}", AXIS, lambda length=length: good[:length],
            *CUT, "sop_class", "photometric", "size", "modality", "pixel_length",
        )  # fmt: skip
    for name, syntax in {"jpeg": J + "70", "jls": J + "80", "j2k": J + "90"}.items():
        data = packed(syntax, cells(P), 12)
        yield from bad(f"cut_{name}", AXIS, lambda data=data: data[: len(data) * 3 // 4], *CUT)

        def torn(syntax: str = syntax) -> bytes:
            return rewrapped(lambda f: item(b"") + item(f[: len(f) // 4 * 2]) + END, syntax)

        yield from bad(f"torn_{name}", AXIS, torn, "decode_failed", "codestream")

        def middle(syntax: str = syntax) -> bytes:
            def blot(frame: bytes) -> bytes:
                at = len(frame) // 2
                return item(b"") + item(frame[:at] + bytes(400) + frame[at + 400 :]) + END

            return rewrapped(blot, syntax)

        # A lossless coder without checksums cannot always tell; a picture must not be far off.
        yield Case(f"blot_{name}", AXIS, middle, full(P), 1.0,
                   frozenset({"decode_failed", "codestream", "malformed"}))  # fmt: skip
    yield from ok("trailing_garbage", AXIS, lambda: good + b"garbage" * 99, full(P))
    yield from ok("trailing_zeros", AXIS, lambda: good + bytes(1000), full(P))
    yield from ok("concatenated", AXIS, lambda: good + dicom(stored(seed=9)), full(P))
    yield from ok("trailing_padding_element", AXIS,
                  lambda: good + element(0xFFFCFFFC, "OB", bytes(64)), full(P))  # fmt: skip
    for name, spare in {"sector": bytes(4096), "some_bytes": bytes(range(150))}.items():
        padded = functools.partial(dicom, P, PixelData=cells(P).tobytes() + spare)
        yield from ok(f"padded_{name}", AXIS, padded, full(P))
    yield from bad("doubled_pixels", AXIS, doubled, "pixel_length")
    yield from bad("rows_doubled", AXIS, lambda: dicom(P, Rows=192), "pixel_length")
    yield from bad("rows_halved", AXIS, lambda: dicom(P, Rows=48, Columns=160 + 4), "pixel_length", "size")


END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def doubled() -> bytes:
    data = dataset()
    data.PixelData = data.PixelData * 2
    return serialise_dataset(data)


def bare(implicit: bool) -> bytes:
    """A data set without preamble and file meta."""
    data = dicom(P) if not implicit else in_syntax(IMPLICIT, cells(P), 12)
    return data[body_at(data) :]


def meta_cases() -> Iterator[Case]:
    good, plain = dicom(P), "1.2.840.10008.1.2.1"
    yield from ok("bare_explicit", AXIS, lambda: bare(False), full(P), flags=["syntax_guessed"])
    yield from ok("bare_implicit", AXIS, lambda: bare(True), full(P), flags=["syntax_guessed"])
    no_class = bytes.fromhex("08000500") + b"CS" + struct.pack("<H", 10) + b"ISO_IR 100"
    rest = no_class + bare(False)[bare(False).index(b"\x10\x00\x20\x00LO") :]
    yield from bad("bare_without_class", AXIS, lambda: rest, "not_dicom", "sop_class")
    wrong_group = good[:140] + struct.pack("<L", 7) + good[144:]
    yield from ok("meta_group_length_wrong", AXIS, lambda: wrong_group, full(P))
    at = good.index(b"\x02\x00\x00\x00UL")
    without = good[:at] + good[at + 12 :]
    yield from ok("meta_without_group_length", AXIS, lambda: without, full(P))
    hidden = in_syntax(IMPLICIT, cells(P), 12)
    yield from ok("meta_says_explicit_is_implicit", AXIS,
                  lambda: relabelled(hidden, IMPLICIT, plain), full(P),
                  codes=["malformed", "truncated"])  # fmt: skip
    yield from ok("meta_says_implicit_is_explicit", AXIS,
                  lambda: relabelled(good, plain, IMPLICIT), full(P),
                  codes=["malformed", "truncated"])  # fmt: skip
    lies = {
        "little_is_big": (in_syntax(BIG, cells(P), 12), BIG, plain),
        "big_is_little": (good, plain, BIG),
        "deflated_is_plain": (good, plain, DEFLATED),
        "jpeg_is_plain": (good, plain, J + "70"),
        "plain_is_jpeg": (packed(J + "70", cells(P), 12), J + "70", plain),
        "j2k_is_jpeg": (packed(J + "70", cells(P), 12), J + "70", J + "90"),
    }
    for name, (data, old, new) in lies.items():
        make = functools.partial(relabelled, data, old, new)
        yield from ok(f"meta_lies_{name}", AXIS, make, full(P), codes=[
            "malformed", "truncated", "syntax_unsupported", "codestream", "sop_class",
        ])  # fmt: skip
    packed_up = relabelled(good, plain, DEFLATED)
    begin = body_at(packed_up)
    zlibbed = packed_up[:begin] + zlib.compress(packed_up[begin:])
    yield from ok("deflated_with_zlib_head", AXIS, lambda: zlibbed, full(P))
    yield from bad("meta_lies_deflated", AXIS,
                   lambda: relabelled(in_syntax(DEFLATED, cells(P), 12), DEFLATED, plain),
                   "malformed", "truncated", "sop_class", "too_deep", "no_pixels")  # fmt: skip


def element_cases() -> Iterator[Case]:
    good = dicom(P)
    for name, length in {"beyond": 60000, "beyond_long": 0xFFFF}.items():
        extra = element(0x00204000, "LT", b"ab", length)
        yield from bad(f"length_{name}", AXIS, lambda extra=extra: inserted(good, extra), *CUT)
    huge = element(0x00209000, "UN", b"ab", 0xFFFFFFFE)
    yield from bad("length_4_gib", AXIS, lambda: inserted(good, huge), *CUT)
    odd = element(0x00204000, "LT", b"abc")
    yield from ok("odd_length_text", AXIS, lambda: inserted(good, odd), full(P))
    empty = item(b"")
    sequences = {
        "undefined": element(SQ, "SQ", b"", 0xFFFFFFFF) + undefined_item() + SEQUENCE_END,
        "defined": element(SQ, "SQ", item(element(0x00081150, "UI", b"1.2"))),
        "empty": element(SQ, "SQ", b""),
        "empty_item": element(SQ, "SQ", empty),
        "un_undefined": element(0x00091001, "UN", b"", 0xFFFFFFFF) + implicit_item() + SEQUENCE_END,
        "sixty_deep": nested(60),
    }
    for name, extra in sequences.items():
        make = functools.partial(inserted, good, extra, 0x00100020)
        yield from ok(f"sequence_{name}", AXIS, make, full(P))
    yield from bad("sequence_without_end", AXIS, lambda: inserted(
        good, element(SQ, "SQ", b"", 0xFFFFFFFF) + undefined_item(), 0x00100020), *CUT)  # fmt: skip
    stray = b"\xfe\xff\x0d\xe0\0\0\0\0"
    yield Case("stray_item_end", AXIS, lambda: inserted(good, stray), full(P), 2e-6,
               frozenset({"malformed", *CUT, "photometric", "size"}))  # fmt: skip
    twice = element(0x00280010, "US", struct.pack("<H", 96))
    yield Case("rows_twice", AXIS, lambda: inserted(good, twice, 0x00280011), full(P), 2e-6,
               frozenset({"malformed"}))  # fmt: skip
    late = element(0x00080060, "CS", b"DX")
    yield Case("tags_out_of_order", AXIS, lambda: inserted(good, late, 0x00280002), full(P), 2e-6,
               frozenset({"malformed"}))  # fmt: skip
    wrong = {
        "rows_as_ul": (b"\x28\x00\x10\x00US\x02\x00\x60\x00", element(0x00280010, "UL",
        struct.pack("<L", 96))),
        "rows_huge_ul": (b"\x28\x00\x10\x00US\x02\x00\x60\x00",
                         element(0x00280010, "UL", struct.pack("<L", 0x10060))),
        "rows_two_values": (b"\x28\x00\x10\x00US\x02\x00\x60\x00",
                            element(0x00280010, "US", struct.pack("<2H", 96, 96))),
        "rows_empty": (b"\x28\x00\x10\x00US\x02\x00\x60\x00", element(0x00280010, "US", b"")),
        "rows_missing": (b"\x28\x00\x10\x00US\x02\x00\x60\x00", b""),
    }  # fmt: skip
    for name, (old, new) in wrong.items():
        yield Case(f"wrong_{name}", AXIS, lambda old=old, new=new: good.replace(old, new,
                           1), full(P),
                   2e-6, frozenset({"size"}))  # fmt: skip
    as_un = good.replace(b"\x28\x00\x10\x00US\x02\x00\x60\x00",
                         element(0x00280010, "UN", struct.pack("<H", 96)), 1)  # fmt: skip
    yield from ok("rows_as_un", AXIS, lambda: as_un, full(P))
    for tag, name in ((0x00280002, "samples"), (0x00280004, "photometric"), (0x00280100,
                       "allocated"),
                      (0x00280103, "sign"), (0x00080016, "class"), (0x00280101,
                      "bits_stored")):  # fmt: skip
        yield Case(f"missing_{name}", AXIS, lambda tag=tag: missing(tag), full(P), 2e-6,
                   frozenset({"photometric", "bits_unsupported", "sop_class",
                              "bits_inconsistent"}))  # fmt: skip
    yield from bad("missing_pixels", AXIS, lambda: missing(0x7FE00010), "no_pixels")
    yield from bad("empty_pixels", AXIS, empty_pixels, "no_pixels", "pixel_length")
    yield from bad("float_pixels", AXIS, floats, "bits_unsupported")
    yield from ok("pixels_as_un", AXIS, lambda: good.replace(b"\xe0\x7f\x10\x00OW",
                       b"\xe0\x7f\x10\x00UN"),
                  full(P))  # fmt: skip
    yield from ok("pixels_as_ob", AXIS, lambda: good.replace(b"\xe0\x7f\x10\x00OW",
                       b"\xe0\x7f\x10\x00OB"),
                  full(P))  # fmt: skip
    yield from ok("before_pixels_7fe0", AXIS, lambda: inserted(
        good, element(0x7FE00001, "OB", bytes(8)), 0x7FE00010), full(P))  # fmt: skip


SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
ITEM_END = b"\xfe\xff\x0d\xe0\0\0\0\0"


def undefined_item() -> bytes:
    return b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + element(0x00081150, "UI", b"1.2\0") + ITEM_END


def implicit_item() -> bytes:
    inner = struct.pack("<HHL", 0x0009, 0x1002, 2) + b"ab"
    return b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + inner + ITEM_END


def nested(depth: int, tag: int = SQ) -> bytes:
    """Sequences of undefined length inside each other."""
    head = element(tag, "SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return head * depth + (ITEM_END + SEQUENCE_END) * depth


def missing(tag: int) -> bytes:
    """A file without one element."""
    data = dicom(P)
    at = data.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF), body_at(data))
    if tag == 0x7FE00010:
        return data[:at]
    return data[:at] + data[at + 8 + int.from_bytes(data[at + 6 : at + 8], "little") :]


def empty_pixels() -> bytes:
    data = dataset()
    data.PixelData = b""
    return serialise_dataset(data)


def floats() -> bytes:
    data = dataset()
    del data.PixelData
    data.add_new(0x7FE00008, "OF", full(P).astype("<f4").tobytes())
    data.BitsAllocated = 32
    return serialise_dataset(data)


def codestream_cases() -> Iterator[Case]:
    mismatched = compress_dataset(dataset(), J + "90")
    mismatched.Rows = 4096
    yield from bad("codestream_rows", AXIS, lambda: serialise_dataset(mismatched), "codestream_mismatch")
    colour = compress_dataset(dataset(cells(stored(8), size=1), 8), J + "50")
    for name, frame in {
        "zeros": bytes(500), "text": b"not a codestream" * 20, "soi_only": b"\xff\xd8\xff\xd9",
        "short": b"\xff\xd8", "j2k_head": b"\xff\x4f\xff\x51" + bytes(20),
        "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }.items():  # fmt: skip
        for syntax in (J + "70", J + "90", J + "80", J + "50", "1.2.840.10008.1.2.5"):
            data = compress_dataset(dataset(cells(stored(8), size=1), 8), J + "50")
            data.file_meta.TransferSyntaxUID = uid.UID(syntax)
            data.PixelData = item(b"") + item(frame + b"\0" * (len(frame) % 2)) + END
            data["PixelData"].is_undefined_length = True
            yield from bad(f"stream_{name}_{syntax[-2:].strip('.')}", AXIS,
                           lambda data=data: serialise_dataset(data), "codestream", "decode_failed",
                           "codestream_mismatch")  # fmt: skip
    three = rgb_jpeg()
    colour.PixelData = item(b"") + item(three) + END
    colour["PixelData"].is_undefined_length = True
    yield from bad("codestream_colour", AXIS, lambda: serialise_dataset(colour), "codestream_mismatch")


def rgb_jpeg() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.stack([stored(8).astype("u1")] * 3, -1)).save(stream, "JPEG")
    return stream.getvalue() + b"\0" * (len(stream.getvalue()) % 2)


def cases() -> Iterator[Case]:
    """All cases of the axis."""
    for part in (container_cases, cut_cases, meta_cases, element_cases, codestream_cases):
        yield from part()
