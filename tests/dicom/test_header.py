"""Values of a header are read leniently: what cannot be read is absent."""

import math

import pytest
from pydicom.dataset import Dataset

from medprior.dicom.header import Header, parse_decimal
from tests.dicom.sample_files import build_header


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("-0.5", -0.5), ("+3", 3), ("1.5E3", 1500), (".25", 0.25)],
)
def test_decimal_strings_are_numbers(text, value):
    assert parse_decimal(text) == value


@pytest.mark.parametrize("text", ["", "1_0", "1,5", "NAN", "INF", "1E", "--1", "0x1", "1 2"])
def test_anything_else_is_not_a_number(text):
    assert math.isnan(parse_decimal(text))


def test_texts_are_stripped_and_in_upper_case():
    header = build_header(ImageType=b"der\0 \\ Primary\\", PatientID=b"\xe9 ")
    assert header.texts(0x00080008) == ["DER", "PRIMARY", ""]
    assert header.text(0x00080008) == "DER"
    assert header.text(0x00100020) == "É"
    assert (header.texts(0x00100010), header.text(0x00100010)) == ([], "")


def test_shorts_follow_the_byte_order_and_the_sign():
    for little_endian in (True, False):
        header = build_header(little_endian, PixelPaddingValue=65535, WindowWidth="3", Rows=258)
        assert (header.short(0x00280120), header.short(0x00280120, signed=True)) == (65535, -1)
        assert header.short(0x00280010) == 258


def test_a_short_is_one_value_of_whole_words():
    header = build_header(Rows=b"\1\2\3", Columns=[1, 2], WindowWidth="12", BitsStored=b"")
    assert header.short(0x00280010) is None
    assert (header.shorts(0x00280011), header.short(0x00280011)) == ([1, 2], None)
    assert header.shorts(0x00281051) == []
    assert header.short(0x00280101) is None


@pytest.mark.parametrize("little_endian", [True, False])
def test_decimals_are_read_from_text_and_from_binary_numbers(little_endian):
    header = build_header(little_endian, WindowCenter=["1.5", "-2"], ExposureTimeInms=2.5, Rows=258)
    assert header.decimals(0x00281050) == [1.5, -2]
    assert header.decimals(0x00189328) == [2.5]
    assert header.decimals(0x00280010) == [258]
    assert header.decimals(0x00281051) == []


def test_only_the_parts_that_are_no_numbers_are_nan():
    first, second = build_header(WindowCenter=b"x\\2 ").decimals(0x00281050)
    assert math.isnan(first)
    assert second == 2


def test_items_are_headers_with_the_byte_order_of_the_file():
    item = Dataset()
    item.Rows = 258
    header = build_header(little_endian=False, ReferencedImageSequence=[item], PatientID="x")
    assert [part.short(0x00280010) for part in header.items(0x00081140)] == [258]
    assert header.items(0x00082112) == []
    assert header.items(0x00100020) == []


def test_text_is_decoded_by_the_files_character_set():
    header = build_header(SpecificCharacterSet="ISO_IR 192", PatientID="Ä7".encode())
    assert header.unicode(0x00100020) == "Ä7"
    assert header.text(0x00100020) != "Ä7"
    assert build_header().unicode(0x00100020) == ""


def test_only_the_first_64_kibibytes_of_a_text_are_read():
    header = build_header(PatientComments=b"a" * 2**16 + b"b")
    assert header.unicode(0x00104000) == "a" * 2**16
    assert header.text(0x00104000) == "A" * 2**16


def test_an_absent_element_has_no_bytes():
    header = Header(Dataset())
    assert 0x00100020 not in header
    assert (header.raw(0x00100020), header.vr(0x00100020)) == (None, None)
    assert build_header(PatientID=b"").raw(0x00100020) == b""
