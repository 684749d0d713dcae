"""What objects copy from their source, and how they are written."""

import io
import stat

import numpy as np
import pydicom
import pytest

from medprior.dicom import read_image
from medprior.dicom.derived.derived_object import read_source_header, serialise_object, write_private_file
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.seg import build_segmentation
from medprior.errors import Rejected
from tests.dicom.object_sources import MAKER, opened, source


def test_odd_headers_are_copied_as_far_as_they_can_be():
    with pydicom.config.disable_value_validation():
        content = source(PatientBirthDate="01.02.1960", PatientSex="?", StudyTime="noon")
    grid = NativeGrid.from_radiograph(read_image(io.BytesIO(content)))
    header = read_source_header(io.BytesIO(content))
    segmentation = build_segmentation({"left_lung": np.zeros(grid.display_shape, bool)}, header, grid, MAKER)
    found = opened(serialise_object(segmentation))
    assert (found.PatientBirthDate, found.PatientSex, found.StudyTime) == ("", "", "")
    with pydicom.config.disable_value_validation():
        nameless = source(SeriesInstanceUID="abc")
    with pytest.raises(Rejected, match="no usable UIDs"):
        read_source_header(io.BytesIO(nameless))


def test_private_files_are_their_owners_alone(tmp_path):
    write_private_file(tmp_path / "one.dcm", b"secret")
    assert stat.S_IMODE((tmp_path / "one.dcm").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["one.dcm"]
