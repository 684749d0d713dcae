"""View, sex, age and raw identifiers of a file."""

import pytest
from pydicom.dataset import Dataset

from medprior.dicom.decoding.samples import create_sample_dataset
from medprior.dicom.header_metadata import (
    normalise_identifier,
    read_age_years,
    read_identifiers,
    read_sex,
    read_view,
)
from tests.dicom.sample_files import PICTURE, build_header, read_dataset


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


def build_view_code(value="", meaning=""):
    item = Dataset()
    item.CodeValue, item.CodeMeaning = value, meaning
    return item


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"ViewPosition": "LAT"}, ("LATERAL", ())),
        ({"ViewPosition": "XY"}, ("UNKNOWN", ("view_unusual",))),
        ({"ViewPosition": "AP", "ViewCodeSequence": [build_view_code("R-10214")]}, ("AP", ())),
        ({"ViewPosition": "XY", "ViewCodeSequence": [build_view_code("R-10214")]}, ("PA", ("view_unusual",))),
        ({"ViewCodeSequence": [build_view_code("399198007")]}, ("RL", ())),
        ({"ViewCodeSequence": [build_view_code("1", "postero-anterior")]}, ("PA", ())),
        ({"ViewCodeSequence": [build_view_code("1", "Left lateral")]}, ("LL", ())),
        ({"ViewCodeSequence": [build_view_code("1", "right lateral oblique")]}, ("UNKNOWN", ())),
        ({"ViewPosition": "PA", "PatientOrientation": ["A", "F"]}, ("PA", ("view_conflict",))),
        ({"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}, ("LL", ())),
        ({"PatientOrientation": ["P", "F"]}, ("LATERAL", ())),
        ({"PatientOrientation": ["L", "F"]}, ("UNKNOWN", ())),
    ],
)
def test_the_view_is_that_of_the_position_then_of_the_code_then_of_a_lateral_orientation(elements, expected):
    assert read_view(build_header(**elements)) == expected


@pytest.mark.parametrize(
    ("text", "years"),
    [(b"045Y", 45), (b"018M", 1.5), (b"026W", 0.498), (b"100D", 0.274), (b"81", 81), (b"000Y", 0),
     (b"090Y", 90), (b"091Y", 90), (b"130Y", 90), (b"131Y", None), (b"0450Y", None), (b"45X", None), (b"", None)],
)  # fmt: skip
def test_ages_of_any_unit_are_years_and_at_most_ninety(text, years):
    assert read_age_years(build_header(PatientAge=text)) == years


@pytest.mark.parametrize(("text", "sex"), [(b"F ", "F"), (b"m ", "M"), (b"O ", "O"), (b"W ", None), (b"", None)])
def test_sex_is_one_of_three_letters(text, sex):
    assert read_sex(build_header(PatientSex=text)) == sex


def test_identifiers_are_normalised_and_the_issuer_tells_patients_apart():
    assert normalise_identifier("\0 ﬁ１ ") == "fi1"
    assert normalise_identifier("x" * 5000) == "x" * 4096
    whole = build_header(PatientID=" 7 ", IssuerOfPatientID="A", StudyInstanceUID="1.2", SOPInstanceUID="1.3")
    identity = read_identifiers(whole)
    assert (identity.patient, identity.study, identity.sop) == ("A\0" + "7", "1.2", "1.3")
    assert read_identifiers(build_header(PatientID="7")).patient == "\0" + "7"
    assert read_identifiers(build_header(IssuerOfPatientID="A")).patient == ""
