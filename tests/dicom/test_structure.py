"""The walk counts as the standard nests, in every encoding, and leaves the rest to the parser."""

import io
import struct

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from medprior.dicom.structure import MAX_SEQUENCE_DEPTH, DataElementWalker
from medprior.errors import Rejected


def nest(depth, undefined):
    data = Dataset()
    data.PatientID = "x"
    for _ in range(depth):
        outer = Dataset()
        outer.RequestAttributesSequence = [data]
        outer["RequestAttributesSequence"].is_undefined_length = undefined
        data.is_undefined_length_sequence_item = undefined
        data = outer
    return data


def encoded(data, implicit, little):
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, little
    write_dataset(stream, data)
    return io.BytesIO(stream.getvalue())


def code(stream, implicit, little, most=100_000):
    before = stream.tell()
    try:
        DataElementWalker(stream, implicit, little, most, lambda tag: tag >= 0x7FE00000).check()
    except Rejected as error:
        return error.code
    assert stream.tell() == before
    return ""


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
def test_depth_and_count(undefined, implicit, little):
    for depth in (0, 1, MAX_SEQUENCE_DEPTH):
        assert code(encoded(nest(depth, undefined), implicit, little), implicit, little) == ""
    deep = encoded(nest(MAX_SEQUENCE_DEPTH + 1, undefined), implicit, little)
    assert code(deep, implicit, little) == "too_deep"
    # An element and an item for each level, and the patient's id; end marks count as well.
    shallow = encoded(nest(10, undefined), implicit, little)
    marks = 20 if undefined else 0
    assert code(shallow, implicit, little, 21 + marks) == ""
    assert code(shallow, implicit, little, 20 + marks) == "too_many_elements"


def test_many_elements_side_by_side():
    flat = b"".join(struct.pack("<HH2sH", 0x0011, i, b"LO", 0) for i in range(1000))
    assert code(io.BytesIO(flat), False, True, 1000) == ""
    assert code(io.BytesIO(flat), False, True, 999) == "too_many_elements"


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_cut_anywhere_is_the_parsers_business(cut):
    whole = encoded(nest(3, True), False, True).getvalue()
    assert code(io.BytesIO(whole[:-cut]), False, True) == ""


def test_a_list_of_character_sets_has_at_most_1024_bytes():
    def write_character_sets(length):
        return io.BytesIO(struct.pack("<HH2sH", 0x0008, 0x0005, b"CS", length) + b" " * length)

    assert code(write_character_sets(1024), False, True) == ""
    assert code(write_character_sets(1026), False, True) == "malformed"
