"""Pixel data behind other elements of group 7FE0, whatever their value representation."""

import io
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from medprior.dicom import read_radiograph
from medprior.dicom.decoding import pixel_bytes
from medprior.dicom.decoding.pixel_bytes import PixelBytes, group_fragments, read_pixel_bytes
from medprior.dicom.decoding.samples import (
    compress_dataset,
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.dicom.structure import LONG_VRS
from medprior.errors import Rejected

PICTURE = create_sample_picture()


def test_extended_offset_tables_precede_the_pixel_data():
    dataset = compress_dataset(create_sample_dataset(PICTURE), uid.RLELossless)
    dataset.ExtendedOffsetTable = struct.pack("<Q", 0)
    dataset.ExtendedOffsetTableLengths = struct.pack("<Q", len(dataset.PixelData) - 24)
    radiograph = read_radiograph(io.BytesIO(serialise_dataset(dataset)))
    np.testing.assert_array_equal(np.rint(radiograph.pixels * 4095), PICTURE)


@pytest.mark.parametrize(("vr", "value"), [("UV", 1), ("SV", -1), ("OV", bytes(8)), ("UT", "text")])
def test_elements_with_32_bit_lengths_precede_the_pixel_data(vr, value):
    dataset = create_sample_dataset(PICTURE)
    dataset.add_new(0x7FE00003, vr, value)
    radiograph = read_radiograph(io.BytesIO(serialise_dataset(dataset)))
    np.testing.assert_array_equal(np.rint(radiograph.pixels * 4095), PICTURE)


def test_vr_table():
    expected = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
    assert expected == LONG_VRS


def test_icon_pixels_are_not_the_picture():
    icon = Dataset()
    icon.Rows = icon.Columns = 64
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.BitsAllocated = icon.BitsStored = 8
    icon.HighBit, icon.PixelRepresentation = 7, 0
    icon.add_new(0x7FE00010, "OB", bytes(range(64)) * 64)
    result = read_radiograph(io.BytesIO(serialise_dataset(create_sample_dataset(PICTURE, IconImageSequence=[icon]))))
    np.testing.assert_allclose(result.pixels, PICTURE / 4095, atol=1e-6)


def pack_offsets(*offsets):
    """A basic offset table."""
    return struct.pack(f"<{len(offsets)}L", *offsets)


def test_fragments_are_grouped_by_frame():
    parts = [b"aa", b"bbbb", b"cc"]
    assert group_fragments(b"", parts, 3) == parts
    assert group_fragments(b"", parts, 1) == [b"aabbbbcc"]
    assert group_fragments(pack_offsets(0, 22), parts, 2) == [b"aabbbb", b"cc"]
    assert group_fragments(pack_offsets(0, 10), parts, 2) == [b"aa", b"bbbbcc"]


@pytest.mark.parametrize("offsets", [(), (0,), (0, 0), (0, 11), (10, 22), (0, 32), (0, 10, 22)])
def test_frames_that_cannot_be_told_apart_are_refused(offsets):
    with pytest.raises(Rejected) as caught:
        group_fragments(pack_offsets(*offsets), [b"aa", b"bbbb", b"cc"], 2)
    assert caught.value.code == "malformed"


def element(tag, value=b"", length=None, vr=b"OW", order="<"):
    """An element of explicit VR with a 32-bit length."""
    return (
        struct.pack(f"{order}HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, len(value) if length is None else length) + value
    )


def item(value=b"", tag=0xFFFEE000, length=None):
    """A fragment, or a mark of another tag."""
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


END = item(tag=0xFFFEE0DD)
UNDEFINED = 0xFFFFFFFF


def read(data, implicit=False, little=True, frame_count=None):
    """What `read_pixel_bytes` finds, or the code of its refusal."""
    header = SimpleNamespace(little_endian=little)
    parsed = SimpleNamespace(stream=io.BytesIO(data), header=header, implicit=implicit, size=len(data))
    try:
        return read_pixel_bytes(parsed, frame_count)
    except Rejected as error:
        return error.code


@pytest.mark.parametrize(("little", "order"), [(True, "<"), (False, ">")])
def test_pixels_may_fill_the_file_and_be_followed_by_padding(little, order):
    pixels = element(0x7FE00010, b"abcd", order=order)
    assert read(pixels, little=little) == PixelBytes(b"abcd", False, "OW")
    assert read(pixels + element(0xFFFCFFFC, b"", order=order), little=little) == PixelBytes(b"abcd", False, "OW")
    before = element(0x7FE00001, b"12345678", vr=b"OV", order=order)
    assert read(before + pixels, little=little) == PixelBytes(b"abcd", False, "OW")


def test_without_vr_the_length_follows_the_tag():
    assert read(struct.pack("<HHL", 0x7FE0, 0x0010, 2) + b"ab", implicit=True) == PixelBytes(b"ab", False, "OW")
    short = struct.pack("<HH2sH", 0x7FE0, 0x0010, b"XX", 2) + b"ab"
    assert read(short) == PixelBytes(b"ab", False, "XX")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "no_pixels"), (b"\xe0\x7f\x10", "no_pixels"), (element(0x7FE00010), "no_pixels"),
        (element(0x7FE00011, b"ab"), "no_pixels"), (element(0x7FE00001, length=UNDEFINED), "no_pixels"),
        (element(0x7FE00008, b"abcd"), "bits_unsupported"), (element(0x7FE00009, b"abcd"), "bits_unsupported"),
        (element(0x7FE00010, b"abcd", 5), "truncated"), (element(0x7FE00010, b"abcd")[:11], "truncated"),
        (element(0x7FE00010, b"abcd")[:7], "truncated"), (element(0x7FE00001, b"ab", 3), "truncated"),
    ],
)  # fmt: skip
def test_what_is_not_whole_or_not_pixels_has_a_code(data, code):
    assert read(data) == code


def test_fragments_are_joined_up_to_their_end_mark():
    start = element(0x7FE00010, length=UNDEFINED, vr=b"OB")
    assert read(start + item() + item(b"ab") + item(b"cd") + END) == PixelBytes(b"abcd", True, "OB")
    one = read(start + item() + item(b"ab") + item(b"cd") + END, frame_count=2)
    assert one == PixelBytes(b"", True, "OB", (b"ab", b"cd"))


@pytest.mark.parametrize(
    ("fragments", "code"),
    [
        (item() + item(b"ab"), "truncated"), (item() + item(b"ab") + END[:7], "truncated"),
        (item() + item(b"ab", length=3), "truncated"), (item() + item(b"ab", length=UNDEFINED) + END, "malformed"),
        (item() + item(b"ab", tag=0xFFFEE00D) + END, "malformed"), (item() + END, "no_pixels"),
        (item() + item() + END, "no_pixels"), (item(b"ab") + END, "no_pixels"), (END, "no_pixels"),
    ],
)  # fmt: skip
def test_fragments_that_are_cut_off_or_empty_have_a_code(fragments, code):
    assert read(element(0x7FE00010, length=UNDEFINED, vr=b"OB") + fragments) == code


def test_a_table_and_as_many_fragments_as_allowed_are_read(monkeypatch):
    monkeypatch.setattr(pixel_bytes, "MAX_FRAGMENTS", 3)
    start = element(0x7FE00010, length=UNDEFINED, vr=b"OB") + item()
    assert read(start + 2 * item(b"ab") + END) == PixelBytes(b"abab", True, "OB")
    assert read(start + 4 * item(b"ab") + END) == "malformed"
