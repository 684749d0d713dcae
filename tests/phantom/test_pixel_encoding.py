"""Every transfer syntax keeps every value."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest

from medprior.phantom import dicom_file, render_phantom
from medprior.phantom.pixel_encoding import encode_pixels
from medprior.phantom.vendors import VENDORS

NAMES = [vendor.name for vendor in VENDORS]


@pytest.mark.parametrize("vendor", VENDORS, ids=NAMES)
@pytest.mark.parametrize("shape", [(64, 64), (65, 33), (67, 41)])
def test_codec_is_lossless_at_the_limits(vendor, shape):
    rng = np.random.default_rng(vendor.bits)
    stored = rng.integers(0, vendor.max_stored_value, shape, endpoint=True).astype(np.uint16)
    stored[0], stored[1], stored[2, ::2] = 0, vendor.max_stored_value, 0
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = vendor.sop_class, "2.25.1"
    image = render_phantom(0, 64)
    dicom_file.set_pixel_attributes(dataset, image, vendor)
    dataset.Rows, dataset.Columns = shape
    encode_pixels(dataset, stored, vendor.syntax)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    file.seek(0)
    assert np.array_equal(pydicom.dcmread(file).pixel_array, stored)
