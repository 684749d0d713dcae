"""Which headers are those of a single chest radiograph for display."""

import pytest
from pydicom.dataset import Dataset

from medprior.dicom import Policy
from medprior.dicom.eligibility import (
    CR_STORAGE,
    DX_PRESENTATION,
    DX_PROCESSING,
    SECONDARY_CAPTURE,
    check_body_part,
    check_chest_radiograph,
    check_frame_count,
    check_secondary_capture,
    check_sop_class,
    check_subject,
    find_image_type_flags,
)
from medprior.errors import Rejected
from tests.dicom.sample_files import build_header


def get_outcome(check, elements, **policy):
    """The flags of a check, or the code with which it refuses."""
    try:
        return list(check(build_header(**elements), Policy(**policy)))
    except Rejected as error:
        return error.code


@pytest.mark.parametrize(
    ("sop", "modality", "outcome"),
    [
        (CR_STORAGE, "CR", []),
        (DX_PRESENTATION, "DR", ["modality_dr"]),
        (DX_PRESENTATION, "", ["modality_missing"]),
        (DX_PRESENTATION, "MG", "modality"),
        (DX_PROCESSING, "DX", "for_processing"),
        ("1.2.840.10008.5.1.4.1.1.2", "CR", "sop_class"),
        (SECONDARY_CAPTURE, "DR", ["secondary_capture", "burned_in_unknown", "modality_dr"]),
    ],
)
def test_class_and_modality_must_agree(sop, modality, outcome):
    assert get_outcome(check_sop_class, {"SOPClassUID": sop, "Modality": modality}) == outcome


@pytest.mark.parametrize(
    ("modality", "conversion", "accepted_from"),
    [("OT", "DF", "film"), ("", "DF", "film"), ("CT", "DF", None), ("CR", "DF", "film"),
     ("CR", "", "radiograph"), ("OT", "", None), ("DX", "WSD", "any"), ("OT", "WSD", None)],
)  # fmt: skip
def test_each_policy_accepts_more_captures_than_the_one_before(modality, conversion, accepted_from):
    kinds = ["film", "radiograph", "any"]
    elements = {"Modality": modality, "ConversionType": conversion, "BurnedInAnnotation": "NO"}
    accepted = [
        kind
        for kind in kinds
        if get_outcome(check_secondary_capture, elements, secondary_capture=kind) == ["secondary_capture"]
    ]
    assert accepted == (kinds[kinds.index(accepted_from) :] if accepted_from else [])


def test_a_capture_that_does_not_say_whether_text_is_burned_in_is_flagged_or_refused():
    elements = {"Modality": "CR"}
    assert get_outcome(check_secondary_capture, elements) == ["secondary_capture", "burned_in_unknown"]
    assert get_outcome(check_secondary_capture, elements, burned_in_unknown=False) == "burned_in_unknown"
    film = {"Modality": "OT", "ConversionType": "DF"}
    assert get_outcome(check_secondary_capture, film, burned_in_unknown=False) == ["secondary_capture"]


@pytest.mark.parametrize(
    ("body_part", "outcome"),
    [
        ("CHEST", []),
        ("TORAX", []),
        ("RIBS LEFT", []),
        ("CHEST ABDOMEN", []),
        ("ABDOMEN", "body_part"),
        ("T SPINE", "body_part"),
        ("THORACIC SPINE", "body_part"),
        ("HEART", ["body_part_unusual"]),
        ("", ["body_part_missing"]),
    ],
)
def test_the_body_part_is_the_chest_or_unknown(body_part, outcome):
    assert get_outcome(check_body_part, {"BodyPartExamined": body_part}) == outcome


def test_the_anatomic_region_counts_and_the_policy_may_accept_other_parts():
    region = Dataset()
    region.CodeMeaning = "Chest"
    assert get_outcome(check_body_part, {"BodyPartExamined": "ABDOMEN", "AnatomicRegionSequence": [region]}) == []
    outcome = get_outcome(check_body_part, {"BodyPartExamined": "HAND"}, other_body_parts=True)
    assert outcome == ["other_body_part"]


@pytest.mark.parametrize(
    "elements",
    [
        {"QualityControlImage": "YES"},
        {"QualityControlSubject": "YES"},
        {"PatientName": "QC^Phantom"},
        {"PatientName": "TEST^PATIENT"},
        {"BodyPartExamined": "PHANTOM"},
        {"SeriesDescription": "Detector_calibration 2"},
        {"SeriesDescription": "Daily QC"},
        {"ProtocolName": "test exposure"},
        {"StudyDescription": "CHEST PHANTOM"},
        {"ImageComments": "lung phantom, 2 cm PMMA"},
        {"ImageComments": "QC"},
        {"ImageComments": "test image"},
        {"ImageComments": "weekly quality control"},
        {"PatientComments": "Calibration"},
    ],
)
def test_quality_control_is_refused_by_attribute_and_by_wording(elements):
    radiograph = {"SOPClassUID": CR_STORAGE, "Modality": "CR", "BodyPartExamined": "CHEST"}
    assert get_outcome(check_chest_radiograph, radiograph | elements) == "quality_control"


@pytest.mark.parametrize(
    "elements",
    [
        {"QualityControlImage": "NO", "QualityControlSubject": "NO"},
        {"PatientName": "Testa^Maria"},
        {"PatientName": "Calibri^Fantomas"},
        {"SeriesDescription": "Chest PA latest"},
        {"StudyDescription": "Chest, positive TB test"},
        {"ImageComments": "QC passed"},
        {"ImageComments": "calibration 0.143 mm"},
        {"PatientName": "Phantom^Ada", "StudyDescription": "Chest, digital phantom"},
    ],
)
def test_wording_that_only_resembles_quality_control_passes(elements):
    check_subject(build_header(**elements))


def test_there_is_one_frame_or_none_stated():
    for frames in (b"1 ", b"0 ", b""):
        check_frame_count(build_header(NumberOfFrames=frames))
    check_frame_count(build_header())
    for frames in (b"2 ", b"-1", b"x ", b"1\\1"):
        with pytest.raises(Rejected, match="single-frame"):
            check_frame_count(build_header(NumberOfFrames=frames))


def test_image_types_are_read_by_their_position():
    assert find_image_type_flags(build_header(ImageType=["ORIGINAL", "PRIMARY", "POST_PROCESSED"])) == []
    assert find_image_type_flags(build_header(ImageType=["DERIVED", "SECONDARY"])) == ["derived", "secondary"]
    assert find_image_type_flags(build_header(ImageType=["SECONDARY", "DERIVED"])) == []
    assert find_image_type_flags(build_header(ImageType=["ORIGINAL", "PRIMARY", "MY_CAD_1"])) == ["marked_image"]
    assert find_image_type_flags(build_header(ImageType=["CAD", "PRIMARY"])) == []


def test_the_whole_check_collects_flags_and_refuses_burned_in_text():
    stated = {"BurnedInAnnotation": "NO"}
    radiograph = stated | {"SOPClassUID": CR_STORAGE, "Modality": "CR", "BodyPartExamined": "CHEST"}
    assert get_outcome(check_chest_radiograph, radiograph) == []
    assert get_outcome(check_chest_radiograph, radiograph | {"BurnedInAnnotation": "YES"}) == "burned_in"
    face = radiograph | {"RecognizableVisualFeatures": "YES"}
    assert get_outcome(check_chest_radiograph, face) == ["recognisable_features"]
    raw = radiograph | {"PresentationIntentType": "FOR PROCESSING"}
    assert get_outcome(check_chest_radiograph, raw) == "for_processing"
    assert get_outcome(check_chest_radiograph, raw, for_processing=True) == ["for_processing"]


@pytest.mark.parametrize("sop", [CR_STORAGE, DX_PRESENTATION])
@pytest.mark.parametrize(
    ("said", "flags"),
    [
        ({}, True),
        ({"BurnedInAnnotation": ""}, True),
        ({"BurnedInAnnotation": "MAYBE"}, True),
        ({"BurnedInAnnotation": "no"}, False),
    ],
)
def test_a_radiograph_that_does_not_say_whether_text_is_burned_in_passes_with_a_flag(sop, said, flags):
    elements = {"SOPClassUID": sop, "Modality": "DX", "BodyPartExamined": "CHEST"} | said
    expected = ["burned_in_unknown"] if flags else []
    assert get_outcome(check_chest_radiograph, elements, burned_in_unknown=False) == expected


def test_a_capture_has_the_flag_once_and_a_film_has_none():
    capture = {"SOPClassUID": SECONDARY_CAPTURE, "Modality": "CR", "BodyPartExamined": "CHEST"}
    assert get_outcome(check_chest_radiograph, capture) == ["secondary_capture", "burned_in_unknown"]
    assert get_outcome(check_chest_radiograph, capture | {"ConversionType": "DF"}) == ["secondary_capture"]
