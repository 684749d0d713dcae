"""Lookup tables in bytes and words, of any length, with either sign."""

import numpy as np
import pytest

from medprior.dicom.decoding.samples import create_sample_dataset, create_sample_picture
from medprior.dicom.display.lut import LookupTable, has_domain_overlap, read_lut, read_lut_entries
from tests.dicom.sample_files import GAMMA_CURVE, PICTURE, build_header, build_lut_item, read_dataset


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


def test_inputs_are_rounded_and_clamped_to_the_ends():
    table = LookupTable(10, np.array([1, 2, 3], np.float32), 12)
    looked_up = table(np.array([-5, 9.6, 10.4, 10.6, 12, 99], np.float32))
    assert looked_up.tolist() == [1, 1, 1, 2, 3, 3]


def read_table(first, entries, signed, inputs, bits=12):
    (item,) = build_header(VOILUTSequence=[build_lut_item(first, entries, bits)]).items(0x00283010)
    return read_lut(item, signed, inputs)


@pytest.mark.parametrize(
    ("signed", "inputs", "first"),
    [
        (False, (65526, 65530), 65526),
        (True, (-10, -8), -10),
        # The sign of the header makes the table miss every input, the other one does not.
        (False, (-10, -8), -10),
        (True, (65526, 65530), 65526),
        (False, (0, 100), 65526),
        (True, (0, 100), -10),
    ],
)
def test_the_first_input_takes_the_sign_under_which_the_table_meets_the_inputs(signed, inputs, first):
    assert read_table(65526, [1, 2, 3], signed, inputs).first == first


def test_a_table_overlaps_inputs_from_its_first_to_its_last_entry():
    assert has_domain_overlap(5, 3, (7, 9))
    assert has_domain_overlap(5, 3, (3, 5))
    assert not has_domain_overlap(5, 3, (8, 9))
    assert not has_domain_overlap(5, 3, (3, 4))


@pytest.mark.parametrize(("bits", "usable"), [(0, False), (1, True), (16, True), (17, False)])
def test_entries_have_one_to_sixteen_bits(bits, usable):
    table = read_table(0, [1, 2, 3], False, (0, 2), bits)
    assert (table.bits == bits) if usable else (table is None)


@pytest.mark.parametrize(
    ("data", "bits", "expected"),
    [
        (b"\1\2\3", 8, [1, 2, 3]),
        (b"\1\2\3\0", 8, [1, 2, 3]),
        (b"\1\0\2\0\3\0", 8, [1, 2, 3]),
        (b"\1\1\2\0\3\0", 9, [257, 2, 3]),
        (b"\1\2\3\0", 9, None),
        (b"\1\2", 8, None),
    ],
)
def test_entries_are_bytes_only_where_they_fit_and_the_length_says_so(data, bits, expected):
    entries = read_lut_entries(data, 3, bits, little_endian=True)
    assert (None if entries is None else entries.tolist()) == expected
    assert read_lut_entries(b"\1\2", 1, 12, little_endian=False).tolist() == [258]


def test_a_descriptor_without_three_numbers_is_unusable():
    item = build_lut_item(0, [1, 2, 3])
    item[0x00283002].value = [3, 0]
    (header,) = build_header(VOILUTSequence=[item]).items(0x00283010)
    assert read_lut(header, False, (0, 2)) is None


def test_a_descriptor_of_zero_entries_means_65536():
    table = read_table(0, np.arange(65536) % 4096, False, (0, 65535))
    assert len(table.entries) == 65536
    assert table(np.array([65535, 65534], np.float32)).tolist() == [4095, 4094]


@pytest.mark.parametrize(
    ("stored", "signed", "inputs", "first"),
    [
        (32767, True, (0, 40000), 32767), (32768, True, (-40000, 0), -32768), (32768, False, (0, 40000), 32768),
        (32768, False, (-40000, 0), -32768), (32768, True, (0, 40000), 32768), (32767, False, (-40000, 0), 32767),
    ],
)  # fmt: skip
def test_the_sign_of_the_first_input_is_its_highest_bit(stored, signed, inputs, first):
    assert read_table(stored, [1, 2, 3], signed, inputs).first == first
