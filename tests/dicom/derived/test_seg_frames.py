"""Frames of segmentation objects: their number, their bits, and one half of a fraction."""

import io
import zlib

import numpy as np
import pytest

from medprior.dicom import Policy
from medprior.dicom.decoding.samples import create_sample_dataset, serialise_dataset
from medprior.dicom.derived import seg_frames
from medprior.dicom.derived.seg_frames import (
    DEFLATED_FRAMES,
    decode_compressed_frame,
    decode_frames,
    read_frame_count,
    unpack_samples,
)
from medprior.dicom.parsing import parse_header
from medprior.errors import Rejected
from tests.dicom.sample_files import build_header


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("2", 2), ("1000", 1000), (None, 1)])
def test_the_number_of_frames(text, count):
    assert read_frame_count(build_header(**({"NumberOfFrames": text} if text else {}))) == count


@pytest.mark.parametrize("text", ["0", "1001", "-1"])
def test_no_frame_and_too_many_are_refused(text):
    with pytest.raises(Rejected, match="more than 1000 frames, or none") as caught:
        read_frame_count(build_header(NumberOfFrames=text))
    assert caught.value.code == "geometry"


def test_frames_of_one_bit_need_not_start_at_a_byte():
    """Three frames of 2 x 3 bits, packed without gaps, the lowest bit of a byte first."""
    frames = np.array([[1, 0, 1, 1, 0, 0], [0, 1, 1, 0, 1, 1], [1, 1, 1, 0, 0, 1]], np.uint8)
    data = np.packbits(frames.ravel(), bitorder="little").tobytes()
    for number, frame in enumerate(frames):
        samples = unpack_samples(data, 6 * number, (2, 3), 1, True)
        np.testing.assert_array_equal(samples, frame.reshape(2, 3))


def test_larger_samples_have_the_byte_order_of_the_file():
    values = np.arange(12, dtype="<u2") * 300
    np.testing.assert_array_equal(unpack_samples(values.tobytes(), 6, (2, 3), 16, True), values[6:].reshape(2, 3))
    swapped = values.astype(">u2").tobytes()
    np.testing.assert_array_equal(unpack_samples(swapped, 0, (3, 2), 16, False), values[:6].reshape(3, 2))
    assert unpack_samples(bytes(range(12)), 6, (2, 3), 8, True).tolist() == [[6, 7, 8], [9, 10, 11]]


def open_object(stored, **elements):
    """A parsed object of uint8 frames [frames, rows, cols]."""
    flat = np.asarray(stored, np.uint8).reshape(-1, np.shape(stored)[-1])
    content = serialise_dataset(create_sample_dataset(flat, 8, Rows=np.shape(stored)[1], **elements))
    return parse_header(io.BytesIO(content), len(content), Policy(min_side=1))


@pytest.mark.parametrize(
    ("maximum", "value", "is_inside"),
    [(255, 128, True), (255, 127, False), (100, 50, True), (100, 49, False), (None, 128, True), (None, 127, False)],
)
def test_a_fraction_counts_from_one_half_of_its_maximum_on(maximum, value, is_inside):
    more = {"MaximumFractionalValue": maximum} if maximum else {}
    parsed = open_object([[[0, value, 255]]], SegmentationType="FRACTIONAL", **more)
    (frame,) = decode_frames(parsed, (1, 3), 1)
    assert frame.tolist() == [[False, is_inside, True]]


def test_frames_of_bytes_come_in_order_and_as_they_are():
    stored = np.arange(24).reshape(3, 2, 4)
    frames = list(decode_frames(open_object(stored, SegmentationType="LABELMAP"), (2, 4), 3))
    np.testing.assert_array_equal(frames, stored)


@pytest.mark.parametrize(("shape", "count", "bits"), [((2, 4), 4, 8), ((2, 5), 3, 8), ((2, 4), 3, 12)])
def test_pixels_that_do_not_fill_the_frames_are_refused(shape, count, bits):
    parsed = open_object(np.zeros((3, 2, 4)), SegmentationType="BINARY", BitsAllocated=bits)
    with pytest.raises(Rejected, match="do not fill its frames") as caught:
        list(decode_frames(parsed, shape, count))
    assert caught.value.code == "malformed"


def deflate(data):
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_a_deflated_frame_holds_all_its_samples_or_is_refused(bits):
    values = np.arange(15).reshape(3, 5) % 2
    data = np.packbits(values, bitorder="little").tobytes() if bits == 1 else values.astype(f"<u{bits // 8}").tobytes()
    np.testing.assert_array_equal(decode_compressed_frame(deflate(data), DEFLATED_FRAMES, (3, 5), bits), values)
    with_padding = decode_compressed_frame(deflate(data + b"\0"), DEFLATED_FRAMES, (3, 5), bits)
    np.testing.assert_array_equal(with_padding, values)
    with pytest.raises(Rejected, match="do not fill its frames"):
        decode_compressed_frame(deflate(data[:-1]), DEFLATED_FRAMES, (3, 5), bits)
    with pytest.raises(Rejected) as caught:
        decode_compressed_frame(deflate(data + b"\0\0"), DEFLATED_FRAMES, (3, 5), bits)
    assert caught.value.code == "too_large"


def test_other_compressions_of_one_bit_are_refused():
    with pytest.raises(Rejected) as caught:
        decode_compressed_frame(b"", "1.2.840.10008.1.2.5", (2, 2), 1)
    assert caught.value.code == "bits_unsupported"
    assert seg_frames.MAX_FRAMES == 1000
