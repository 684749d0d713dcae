"""Cells become stored values: bits stored, high bit and sign, as the header states them."""

import numpy as np
import pytest

from medprior.dicom import Policy
from medprior.dicom.decoding.decoders import PixelLayout
from medprior.dicom.decoding.pixel_bytes import PixelBytes
from medprior.dicom.decoding.samples import create_sample_dataset, create_sample_picture
from medprior.dicom.decoding.stored_values import (
    compute_stored_values,
    is_trailing_padding,
    read_pixel_layout,
    read_stored_cells,
)
from medprior.dicom.display.levels import GreyLevels
from medprior.errors import Rejected
from tests.dicom.sample_files import PICTURE, build_header, read_dataset


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_every_number_of_bits_and_sign_gives_the_same_brightness(bits, signed):
    stored = create_sample_picture(bits=bits).astype(np.int32) - (2 ** (bits - 1) if signed else 0)
    cells = stored.astype("i2" if signed else "u2")
    result = read_dataset(create_sample_dataset(cells, bits))
    np.testing.assert_allclose(result.pixels, create_sample_picture(bits=bits) / (2**bits - 1), atol=1e-6)


@pytest.mark.parametrize("upper", ["zero", "overlay", "garbage", "constant"])
@pytest.mark.parametrize("signed", [False, True])
def test_upper_bits_do_not_reach_the_picture(upper, signed):
    rng = np.random.default_rng(0)
    stored = PICTURE.astype(np.int64) - (2048 if signed else 0)
    cells = stored & 0xFFF
    cells |= {
        "zero": 0,
        "overlay": (rng.random(cells.shape) > 0.97).astype(np.int64) << 14,
        "garbage": rng.integers(0, 16, cells.shape) << 12,
        "constant": 0xA000,
    }[upper]
    array = cells.astype("u2").view("i2") if signed else cells.astype("u2")
    np.testing.assert_allclose(read_dataset(create_sample_dataset(array)).pixels, PICTURE / 4095, atol=1e-6)


def test_a_picture_wider_than_it_claims_is_refused():
    rng = np.random.default_rng(0)
    noisy = np.clip(PICTURE + rng.normal(0, 8, PICTURE.shape), 0, 4095).astype("u2")
    with pytest.raises(Rejected) as caught:
        read_dataset(create_sample_dataset(noisy, 8))
    assert caught.value.code == "bits_inconsistent"


def test_high_bit_above_the_stored_bits_shifts():
    dataset = create_sample_dataset((PICTURE << 4).astype("u2"), 12, HighBit=15)
    np.testing.assert_allclose(read_dataset(dataset).pixels, PICTURE / 4095, atol=1e-6)


SMALL = Policy(min_side=1)
COMPLETE = {
    "Rows": 3, "Columns": 2, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
    "PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 1,
}  # fmt: skip


def read_layout_without(*absent, **changes):
    elements = {keyword: value for keyword, value in (COMPLETE | changes).items() if keyword not in absent}
    return read_pixel_layout(build_header(**elements), SMALL)


def test_absent_bits_follow_from_those_that_are_there():
    assert read_layout_without() == PixelLayout(3, 2, 16, 12, 11, False)
    assert read_layout_without("HighBit", "SamplesPerPixel") == PixelLayout(3, 2, 16, 12, 11, False)
    assert read_layout_without("HighBit", "BitsStored") == PixelLayout(3, 2, 16, 16, 15, False)
    assert read_layout_without(PixelRepresentation=1).signed
    assert not read_layout_without("PixelRepresentation").signed


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"HighBit": 10}, "bits_inconsistent"),
        ({"HighBit": 16}, "bits_inconsistent"),
        ({"BitsStored": 0, "HighBit": 0}, "bits_inconsistent"),
        ({"BitsStored": 17, "HighBit": 15}, "bits_inconsistent"),
        ({"PixelRepresentation": 2}, "bits_inconsistent"),
        ({"BitsAllocated": 12}, "bits_unsupported"),
        ({"Rows": [3, 3]}, "size"),
    ],
)
def test_bits_that_do_not_fit_their_cells_are_refused(changes, code):
    with pytest.raises(Rejected) as caught:
        read_layout_without(**changes)
    assert caught.value.code == code


def read_cells(data, layout, little_endian=True, vr="OW"):
    syntax = "1.2.840.10008.1.2.1" if little_endian else "1.2.840.10008.1.2.2"
    return read_stored_cells(PixelBytes(data, False, vr), syntax, layout, little_endian).tolist()


def test_two_bytes_of_padding_may_follow_the_smallest_picture_and_no_second_picture():
    layout = PixelLayout(1, 3, 8, 8, 7, False)
    for length in (3, 4, 5):
        assert read_cells(bytes([7, 8, 9, 0, 0][:length]), layout) == [[7, 8, 9]]
    for length in (2, 6):
        with pytest.raises(Rejected) as caught:
            read_cells(bytes(length), layout)
        assert caught.value.code == "pixel_length"


@pytest.mark.parametrize(
    ("spare", "is_padding"),
    [
        (b"", True),
        (bytes(range(127)), True),
        (bytes(range(128)), False),
        (bytes(8191), True),
        (b"\xff" * 8191, True),
        (bytes(8192), False),
        (bytes(2000) + b"\1", False),
    ],
)
def test_bytes_behind_the_picture_are_padding_if_they_hold_no_row_and_no_picture(spare, is_padding):
    # 64 rows x 64 columns x 2 bytes: a row is 128 bytes, the picture 8192.
    assert is_trailing_padding(spare, PixelLayout(64, 64, 16, 12, 11, False)) is is_padding


def test_padding_has_at_most_64_kib():
    large = PixelLayout(1024, 1024, 8, 8, 7, False)
    assert is_trailing_padding(bytes(65536), large)
    assert not is_trailing_padding(bytes(65537), large)


def test_cells_have_the_byte_order_of_the_file_and_bytes_in_words_are_swapped():
    wide, narrow = PixelLayout(1, 2, 16, 16, 15, False), PixelLayout(1, 3, 8, 8, 7, False)
    assert read_cells(b"\1\2\3\4", wide) == [[0x0201, 0x0403]]
    assert read_cells(b"\1\2\3\4", wide, little_endian=False) == [[0x0102, 0x0304]]
    assert read_cells(b"\1\2\0\3", narrow, little_endian=False) == [[2, 1, 3]]
    assert read_cells(b"\1\2\3\0", narrow, little_endian=False, vr="OB") == [[1, 2, 3]]
    with pytest.raises(Rejected):
        read_cells(b"\1\2\3", narrow, little_endian=False)


def test_plain_pixels_under_a_compressed_syntax_are_malformed():
    with pytest.raises(Rejected) as caught:
        read_stored_cells(
            PixelBytes(b"\1", False, "OW"), "1.2.840.10008.1.2.5", PixelLayout(1, 1, 8, 8, 7, False), True
        )
    assert caught.value.code == "malformed"


def test_the_top_stored_bit_is_the_sign():
    levels = GreyLevels(np.array([[0xFFF]], dtype=np.uint16))
    for signed, expected in ((False, [0, 2047, 2048, 4095]), (True, [0, 2047, -2048, -1])):
        values = compute_stored_values(levels, PixelLayout(1, 1, 16, 12, 11, signed))
        assert values[[0x000, 0x7FF, 0x800, 0xFFF]].tolist() == expected
    high = np.array([[0xABCF]], dtype=np.uint16)
    assert compute_stored_values(GreyLevels(high), PixelLayout(1, 1, 16, 12, 15, False))[0xABCF] == 0xABC


def test_bits_above_the_stored_ones_belong_to_the_picture_if_they_make_steps_smaller():
    layout = PixelLayout(1, 2, 16, 8, 7, False)
    # 250 to 260 is a step of 10; without the ninth bit it is one from 250 down to 4.
    with pytest.raises(Rejected):
        compute_stored_values(GreyLevels(np.array([[250, 260]], dtype=np.uint16)), layout)
    garbage = np.array([[3, 256 + 3]], dtype=np.uint16)
    assert compute_stored_values(GreyLevels(garbage), layout)[garbage[0]].tolist() == [3, 3]
