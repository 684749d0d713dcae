"""JPEG Lossless files, decoded by two independent decoders."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK

from medprior.phantom.pixel_encoding import encode_pixels
from medprior.phantom.vendors import JPEG_LOSSLESS

PICTURES = {
    "noise": lambda bits: np.random.default_rng(1).integers(0, 1 << bits, (33, 47)),
    "flat": lambda bits: np.full((16, 16), (1 << bits) - 1),
    "extremes": lambda bits: ((1 << bits) - 1) * (np.indices((20, 21)).sum(0) % 2),
    "ramp": lambda bits: np.arange(30 * 40).reshape(30, 40) % (1 << bits),
}


@pytest.mark.parametrize("bits", [8, 12, 14, 16])
@pytest.mark.parametrize("name", PICTURES)
def test_jpeg_lossless_round_trip(tmp_path, name, bits):
    stored = PICTURES[name](bits).astype(np.uint16)
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "2.25.1"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    encode_pixels(dataset, stored, JPEG_LOSSLESS)
    assert np.array_equal(dataset.pixel_array, stored)
    dataset.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    if bits > 8:
        image = SimpleITK.ReadImage(str(tmp_path / "one.dcm"))
        assert np.array_equal(SimpleITK.GetArrayFromImage(image)[0], stored)
