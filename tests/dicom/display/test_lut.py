"""Lookup tables in bytes and words, of any length, with either sign."""

import numpy as np
import pytest

from medprior.dicom.decoding.samples import create_sample_dataset, create_sample_picture
from tests.dicom.sample_files import GAMMA_CURVE, PICTURE, build_lut_item, read_dataset


@pytest.mark.parametrize("word", [True, False])
def test_eight_bit_tables_in_bytes_and_in_words(word):
    entries = np.arange(256)[::-1]
    picture = create_sample_picture(bits=8).astype("u1")
    dataset = create_sample_dataset(picture, 8, VOILUTSequence=[build_lut_item(0, entries, 8, word)])
    np.testing.assert_allclose(read_dataset(dataset).pixels, 1 - picture / 255, atol=1e-6)


def test_a_table_with_65536_entries():
    picture = create_sample_picture(bits=16)
    entries = np.arange(65536) // 16
    dataset = create_sample_dataset(picture, 16, VOILUTSequence=[build_lut_item(0, entries, 12)])
    np.testing.assert_allclose(read_dataset(dataset).pixels, (picture // 16) / 4095, atol=1e-6)


def test_a_table_that_is_cut_short_is_passed_over():
    item = build_lut_item(0, GAMMA_CURVE)
    item[0x00283006].value = item[0x00283006].value[:100]
    result = read_dataset(create_sample_dataset(PICTURE, VOILUTSequence=[item]))
    assert "voi_lut_unusable" in result.flags
    np.testing.assert_allclose(result.pixels, PICTURE / 4095, atol=1e-6)
