"""Cells become stored values: bits stored, high bit and sign, as the header states them."""

import numpy as np
import pytest

from medprior.dicom.decoding.samples import create_sample_dataset, create_sample_picture
from medprior.errors import Rejected
from tests.dicom.sample_files import PICTURE, read_dataset


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
