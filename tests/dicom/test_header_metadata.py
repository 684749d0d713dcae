"""View, sex, age and raw identifiers of a file."""

import pytest

from medprior.dicom.decoding.samples import create_sample_dataset
from tests.dicom.sample_files import PICTURE, read_dataset


def test_metadata_is_read_and_the_identity_masked():
    result = read_dataset(create_sample_dataset(PICTURE, PatientAge="094Y", ViewPosition=" AP", PatientID="CANARY"))
    assert (result.view, result.sex, result.age) == ("AP", "F", 90.0)
    assert "CANARY" in result.identity.patient
    assert "CANARY" not in repr(result) + repr(result.identity)


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewPosition": "LL"}, "LL"),
        ({"ViewPosition": ""}, "UNKNOWN"),
        ({"ViewPosition": "", "PatientOrientation": ["A", "F"]}, "LATERAL"),
    ],
)
def test_view_is_never_assumed(elements, view):
    assert read_dataset(create_sample_dataset(PICTURE, **elements)).view == view
