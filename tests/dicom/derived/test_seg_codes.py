"""Names of masks and findings become codes and come back."""

import pytest

from medprior.dicom.derived.seg_codes import (
    FINDING_CATEGORY,
    FINDING_CODES,
    ORGAN_CATEGORY,
    ORGAN_CODES,
    find_finding_code,
    find_segment_codes,
    name_segment,
)


@pytest.mark.parametrize("name", sorted({*ORGAN_CODES, *FINDING_CODES} - {"effusion"}))
def test_a_known_name_comes_back_from_its_code(name):
    category, code = find_segment_codes(name)
    assert category == (ORGAN_CATEGORY if name in ORGAN_CODES else FINDING_CATEGORY)
    assert code.scheme_designator == "SCT"
    assert name_segment(code.value, "", "a label") == name


def test_an_effusion_is_a_pleural_effusion():
    assert name_segment(find_segment_codes("effusion")[1].value, "", "") == "pleural_effusion"


def test_an_unknown_name_has_a_private_code():
    category, code = find_segment_codes("left_hilum")
    assert (category, code.value, code.scheme_designator) == (ORGAN_CATEGORY, "left_hilum", "99MEDPRIOR")
    assert find_finding_code("heart").scheme_designator == "99MEDPRIOR"
    assert find_finding_code("nodule").value == "27925004"


def test_only_a_lung_has_a_side():
    lung, heart = ORGAN_CODES["lungs"].value, ORGAN_CODES["heart"].value
    assert name_segment(lung, "7771000", "") == "left_lung"
    assert name_segment(lung, "24028007", "") == "right_lung"
    assert name_segment(lung, "51440002", "") == "lungs"
    assert name_segment(heart, "7771000", "") == "heart"


def test_a_segment_without_a_known_code_has_its_label_in_snake_case():
    assert name_segment("0", "", " My Mask-2 (Left)!") == "my_mask_2_left"
    assert name_segment("", "", "...") == ""
