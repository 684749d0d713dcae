"""Sample radiograph files of this room's tests, and what the reader makes of them."""

import io

import numpy as np
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset as read_elements
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from medprior.dicom import read_radiograph
from medprior.dicom.decoding.samples import create_sample_dataset, create_sample_picture, serialise_dataset
from medprior.dicom.header import Header
from medprior.errors import Rejected

PICTURE = create_sample_picture()
"""The picture of every sample: 12 bits, uint16 [96, 80]."""
GOOD_FILE = serialise_dataset(create_sample_dataset(PICTURE))
"""A DICOM file of `PICTURE` with nothing wrong."""
GAMMA_CURVE = np.rint(4095 * (np.arange(4096) / 4095) ** 1.7).astype(int)
"""A rising table of 12 bits with 4096 entries."""


def read_dataset(dataset):
    """Read a data set as the file that it becomes."""
    return read_radiograph(io.BytesIO(serialise_dataset(dataset)))


def get_reject_code(source, policy=None):
    """The code with which a file (its bytes, or anything `read_radiograph` takes) is refused."""
    with pytest.raises(Rejected) as caught:
        read_radiograph(io.BytesIO(source) if isinstance(source, bytes) else source, policy)
    return caught.value.code


def build_lut_item(first, entries, bits=12, word=True):
    """Build the item of a LUT sequence whose entry 0 belongs to input `first`; words or single bytes."""
    item = Dataset()
    kind = "SS" if first < 0 else "US"
    item.add_new(0x00283002, kind, [len(entries) % 65536, first, bits])
    data = np.asarray(entries).astype("<u2" if word else "u1").tobytes()
    item.add_new(0x00283006, "OW", data)
    return item


def build_header(little_endian=True, **elements):
    """Parse a header that has these elements and no others; bytes are the value as the file stores it."""
    plain = Dataset()
    for keyword, value in elements.items():
        if not isinstance(value, bytes):
            setattr(plain, keyword, value)
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = False, little_endian
    write_dataset(stream, plain)
    parsed = read_elements(io.BytesIO(stream.getvalue()), False, little_endian)
    for keyword, value in elements.items():
        if isinstance(value, bytes):
            tag = Tag(keyword)
            parsed[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, little_endian)
    return Header(parsed, little_endian)
