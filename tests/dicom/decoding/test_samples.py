"""Generated sample files: full range, no symmetry, and valid as they are written."""

import io

import numpy as np
import pydicom
import pytest

from medprior.dicom.decoding.samples import (
    compress_dataset,
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_sample_picture_has_the_full_range_and_no_symmetry(bits):
    picture = create_sample_picture(30, 20, bits)
    assert (picture.shape, picture.dtype) == ((30, 20), np.uint16)
    assert (int(picture.min()), int(picture.max())) == (0, 2**bits - 1)
    for turned in (np.fliplr(picture), np.flipud(picture), np.rot90(picture, 2)):
        assert (turned != picture).mean() > 0.9


def test_cells_follow_the_dtype_and_an_odd_length_is_padded():
    dataset = create_sample_dataset(np.arange(9, dtype=np.uint8).reshape(3, 3), 8, PatientID="other")
    assert (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit) == (8, 8, 7)
    assert dataset.PixelData == bytes(range(9)) + b"\0"
    assert (dataset.PixelRepresentation, dataset.PatientID) == (0, "other")
    signed = create_sample_dataset(np.array([[-1, 2]], dtype=">i2"))
    assert (signed.PixelRepresentation, signed.BitsAllocated, signed.PixelData) == (1, 16, b"\xff\xff\x02\x00")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"])
def test_a_compressed_sample_is_read_by_pydicom(syntax):
    picture = create_sample_picture(30, 20)
    written = serialise_dataset(compress_dataset(create_sample_dataset(picture), syntax))
    opened = pydicom.dcmread(io.BytesIO(written))
    assert opened.file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(opened.pixel_array, picture)


def test_a_syntax_without_an_encoder_is_not_written():
    with pytest.raises(NotImplementedError):
        compress_dataset(create_sample_dataset(create_sample_picture(30, 20)), "1.2.840.10008.1.2.4.201")
