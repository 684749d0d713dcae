"""Headers of compressed frames, built byte by byte."""

import struct

import pytest
from pydicom.encaps import generate_frames

from medprior.dicom.decoding.codestream import (
    CodestreamHeader,
    read_jpeg2000_header,
    read_jpeg_header,
    read_rle_header,
)
from medprior.dicom.decoding.samples import compress_dataset, create_sample_dataset
from medprior.errors import Rejected
from tests.dicom.sample_files import PICTURE

START = b"\xff\xd8"
END = b"\xff\xd9"


def build_segment(marker, payload):
    """One JPEG segment with its marker and length."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def build_frame_header(marker=0xC0, precision=8, rows=7, cols=5, components=1):
    """The segment that states precision and size."""
    return build_segment(marker, struct.pack(">BHHB", precision, rows, cols, components))


def get_code(read, *arguments):
    with pytest.raises(Rejected) as caught:
        read(*arguments)
    return caught.value.code


def test_a_jpeg_ls_stream_without_an_end_is_refused():
    with pytest.raises(Rejected, match="cut off") as caught:
        read_jpeg_header(START + build_frame_header(0xF7) + bytes(20))
    assert caught.value.code == "codestream"
    assert read_jpeg_header(START + build_frame_header(0xC3) + bytes(20)).rows == 7


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2, 0xC3, 0xF7])
def test_a_frame_header_states_rows_before_columns(marker):
    header = read_jpeg_header(START + build_frame_header(marker, precision=12) + END)
    assert header == CodestreamHeader(rows=7, cols=5, components=1, precision=12)


@pytest.mark.parametrize("marker", [0xC4, 0xC8, 0xCC, 0xE0])
def test_tables_between_the_frame_headers_markers_are_passed_over(marker):
    decoy = build_frame_header(marker, rows=99, cols=99)
    assert read_jpeg_header(START + decoy + build_frame_header()).rows == 7


def test_fill_bytes_and_markers_without_a_length_are_passed_over():
    data = START + b"\xff\x01\xff\xd0" + b"\xff\xff\xff" + build_frame_header()
    assert (read_jpeg_header(data).rows, read_jpeg_header(data).cols) == (7, 5)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd9" + build_frame_header(),
        START,
        START + build_frame_header()[:-1],
        START + build_segment(0xDA, b"") + build_frame_header(),
        START + b"\xff\xe0\x00\x01" + build_frame_header(),
        START + b"\x00" + build_frame_header(),
        START + b"\xff" * 9,
    ],
)
def test_a_stream_without_a_frame_header_is_refused(data):
    assert get_code(read_jpeg_header, data) == "codestream"


def test_a_hundred_scans_are_read_and_one_more_is_refused():
    scans = b"\xff\xda" * 100
    assert read_jpeg_header(START + build_frame_header() + scans).rows == 7
    assert get_code(read_jpeg_header, START + build_frame_header() + scans + b"\xff\xda") == "too_large"


def build_size_segment(width, height, offset=(0, 0), tile=(64, 64), tile_offset=(0, 0), depth=11):
    """Start of a JPEG 2000 stream: SOC, then SIZ with one component."""
    sizes = (width, height, *offset, *tile, *tile_offset)
    return b"\xff\x4f\xff\x51" + struct.pack(">HH8LHBBB", 41, 0, *sizes, 1, depth, 1, 1)


def test_jpeg2000_size_is_that_of_the_image_area():
    data = bytes(50) + build_size_segment(30, 40, offset=(10, 3))
    assert read_jpeg2000_header(data) == CodestreamHeader(rows=37, cols=20, components=1, precision=12)


@pytest.mark.parametrize(("depth", "precision"), [(7, 8), (15, 16), (0x80 | 11, 12)])
def test_jpeg2000_precision_is_one_more_than_stored_whatever_the_sign(depth, precision):
    assert read_jpeg2000_header(build_size_segment(30, 40, depth=depth)).precision == precision


def test_a_real_jpeg2000_stream_states_its_twelve_bits():
    dataset = compress_dataset(create_sample_dataset(PICTURE), "1.2.840.10008.1.2.4.90")
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    assert read_jpeg2000_header(frame) == CodestreamHeader(rows=96, cols=80, components=1, precision=12)


def test_jpeg2000_streams_with_impossible_tiles_are_refused():
    assert read_jpeg2000_header(build_size_segment(65535, 1, tile=(1, 1))).cols == 65535
    assert read_jpeg2000_header(build_size_segment(9, 9, offset=(2, 2), tile_offset=(2, 2))).cols == 7
    for data in (
        build_size_segment(65536, 1, tile=(1, 1)),
        build_size_segment(9, 9, tile=(0, 9)),
        build_size_segment(9, 9, tile=(9, 0)),
        build_size_segment(9, 9, offset=(2, 2), tile_offset=(3, 0)),
        build_size_segment(9, 9, offset=(2, 2), tile_offset=(0, 3)),
        build_size_segment(9, 9)[:42],
        b"",
    ):
        assert get_code(read_jpeg2000_header, data) == "codestream"


def build_rle_frame(count, offsets, length):
    """An RLE frame of `length` bytes with this segment table."""
    return struct.pack("<16L", count, *offsets, *[0] * (15 - len(offsets))).ljust(length, b"\0")


def test_an_rle_frame_has_one_segment_for_each_byte_of_a_cell():
    header = read_rle_header(build_rle_frame(2, [64, 70], 70), 4, 3, 16)
    assert header == CodestreamHeader(rows=4, cols=3, components=1, precision=16)
    assert read_rle_header(build_rle_frame(1, [64], 64), 4, 3, 8).precision == 8


@pytest.mark.parametrize(
    "frame",
    [
        build_rle_frame(1, [64], 99),
        build_rle_frame(3, [64, 70, 80], 99),
        build_rle_frame(2, [66, 70], 99),
        build_rle_frame(2, [64, 60], 99),
        build_rle_frame(2, [64, 70], 69),
        build_rle_frame(2, [64, 70], 99)[:63],
        build_rle_frame(0, [], 99),
    ],
)
def test_an_rle_table_that_does_not_fit_is_refused(frame):
    assert get_code(read_rle_header, frame, 4, 3, 16) == "codestream"
