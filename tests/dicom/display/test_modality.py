"""Stored values become modality values by a table or a line, never by both."""

import numpy as np
import pytest

from medprior.dicom.display.levels import GreyLevels
from medprior.dicom.display.modality import compute_modality_values
from medprior.errors import Rejected
from tests.dicom.sample_files import build_header, build_lut_item


def convert_levels(stored, **elements):
    """Modality values and flags of a picture whose level i has stored value `stored[i]`."""
    stored = np.asarray(stored, dtype=np.int32)
    levels = GreyLevels(np.arange(len(stored), dtype=np.uint16)[None])
    values, flags = compute_modality_values(levels, stored, build_header(**elements), signed=bool(stored.min() < 0))
    return values.tolist(), flags


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, [-1, 0, 4]),
        ({"RescaleSlope": "2.5"}, [-2.5, 0, 10]),
        ({"RescaleIntercept": "-7"}, [-8, -7, -3]),
        ({"RescaleSlope": "-0.5", "RescaleIntercept": "3"}, [3.5, 3, 1]),
        ({"RescaleSlope": b"", "RescaleIntercept": "1"}, [0, 1, 5]),
    ],
)
def test_the_rescale_is_a_line_with_defaults_one_and_zero(elements, expected):
    assert convert_levels([-1, 0, 4], **elements) == (expected, ())


def test_a_table_is_used_instead_of_the_rescale_and_a_conflict_is_flagged():
    item = build_lut_item(0, [30, 20, 10])
    assert convert_levels([0, 1, 2], ModalityLUTSequence=[item]) == ([30, 20, 10], ())
    both = convert_levels([0, 1, 2], ModalityLUTSequence=[item], RescaleSlope="9", RescaleIntercept="9")
    assert both == ([30, 20, 10], ("modality_lut_and_rescale",))


def test_an_unusable_table_gives_way_to_the_rescale():
    item = build_lut_item(0, [30, 20, 10], bits=17)
    assert convert_levels([0, 1, 2], ModalityLUTSequence=[item], RescaleSlope="2") == (
        [0, 2, 4],
        ("modality_lut_and_rescale", "modality_lut_unusable"),
    )


@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": "0"},
        {"RescaleSlope": b"abc "},
        {"RescaleIntercept": b"1_0 "},
        {"RescaleSlope": "-1e12"},
        {"RescaleIntercept": "1e12"},
    ],
)
def test_a_rescale_without_contrast_or_beyond_the_range_is_refused(elements):
    with pytest.raises(Rejected) as caught:
        convert_levels([0, 1], **elements)
    assert caught.value.code == "rescale"


def test_the_range_of_a_rescale_is_checked_at_the_values_that_occur():
    assert convert_levels([0, 1], RescaleSlope="9e11")[0] == [0, np.float32(9e11)]
    with pytest.raises(Rejected):
        convert_levels([0, 2], RescaleSlope="9e11")
