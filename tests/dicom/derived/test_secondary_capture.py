"""A drawn-on picture as a secondary capture."""

import io

import numpy as np
import pytest

from medprior.dicom.derived.derived_object import read_source_header, serialise_object
from medprior.dicom.derived.secondary_capture import build_secondary_capture
from tests.dicom.object_sources import CASES, MAKER, opened, source


@pytest.mark.parametrize("case", CASES)
def test_the_picture_comes_back_in_its_sources_study(case):
    header = read_source_header(io.BytesIO(source(**CASES[case])))
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (header.Rows, header.Columns, 3), dtype=np.uint8)
    dataset = opened(serialise_object(build_secondary_capture(rgb, header, MAKER)))
    assert np.array_equal(dataset.pixel_array, rgb)
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY"]
    assert dataset.StudyInstanceUID == "1.2.3.4"
    assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
    wanted = CASES[case].get("PatientOrientation", ["L", "F"])
    assert (list(dataset.PatientOrientation) if dataset.PatientOrientation else None) == wanted
    assert "research" in dataset.DerivationDescription
    assert dataset.BurnedInAnnotation == "NO"


def test_another_size_is_refused():
    header = read_source_header(io.BytesIO(source()))
    with pytest.raises(ValueError, match="size"):
        build_secondary_capture(np.zeros((4, 4, 3), np.uint8), header, MAKER)
