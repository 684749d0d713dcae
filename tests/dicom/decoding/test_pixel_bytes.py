"""Pixel data behind other elements of group 7FE0, whatever their value representation."""

import io
import struct

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from medprior.dicom import read_radiograph
from medprior.dicom.decoding.pixel_bytes import group_fragments
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
