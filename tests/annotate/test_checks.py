"""Masks that are refused, and oddities that are named."""

import numpy as np
import pytest

from medprior.annotate.checks import (
    check_lung_sides,
    check_masks,
    check_structure_name,
    compute_mask_centre,
    list_mask_warnings,
)
from medprior.errors import MedpriorError
from tests.annotate.drawings import disc, lungs


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ({}, "no mask"),
        ({"heart": disc(0.5, shape=(90, 120))}, "120 rows x 90 columns, found 90 rows x 120"),
        ({"heart": np.zeros((120, 90), bool)}, "empty"),
        ({"heart": np.ones((120, 90), bool)}, "everywhere"),
        ({"left_lung": disc(0.25), "right_lung": disc(0.75)}, "swapped"),
        ({"Left Lung": disc(0.5)}, "not a structure's name"),
        ({"../x": disc(0.5)}, "not a structure's name"),
        ({"image": disc(0.5)}, "not a structure's name"),
    ],
)
def test_masks_that_cannot_be_right_are_refused(masks, words):
    with pytest.raises(MedpriorError, match=words):
        check_masks((120, 90), masks)


def test_any_structure_is_welcome_and_oddities_are_named():
    assert check_masks((120, 90), lungs()) == ()
    (warning,) = check_masks((120, 90), {"pacemaker": disc(0.7, 0.2, 0.05)})
    assert "pacemaker" in warning
    warnings = check_masks((120, 90), lungs() | {"heart": disc(0.5, 0.1, 0.1)})
    assert warnings == ("heart: lies above the lung's centre",)


def block(rows, cols, shape=(100, 100)):
    """A mask of these row and column ranges."""
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*cols)] = True
    return mask


def pixels(count):
    """A mask of the first `count` of 10 000 pixels."""
    return (np.arange(10_000) < count).reshape(100, 100)


def test_centre_is_that_of_the_pixels():
    assert compute_mask_centre(block((1, 2), (2, 3), (4, 10))) == (0.375, 0.25)


def test_lungs_on_one_column_count_as_swapped():
    middle = block((10, 20), (40, 60))
    with pytest.raises(MedpriorError, match="left_lung at 50% and right_lung at 50%"):
        check_lung_sides({"left_lung": middle, "right_lung": middle})
    check_lung_sides({"left_lung": block((10, 20), (41, 61)), "right_lung": middle})
    check_lung_sides({"left_lung": middle})


def test_names_are_identifiers_in_lower_case():
    check_structure_name("lung_2")
    for name in ("2_lung", "lungé", "config", "preview", ""):
        with pytest.raises(MedpriorError):
            check_structure_name(name)


@pytest.mark.parametrize(
    ("name", "count", "warns"),
    [
        ("lungs", 200, True),
        ("lungs", 201, False),
        ("lungs", 5999, False),
        ("lungs", 6000, True),
        ("device", 19, True),
        ("device", 20, False),
        ("device", 9000, False),
    ],
)
def test_sizes_that_get_a_warning(name, count, warns):
    assert any("covers" in words for words in list_mask_warnings({name: pixels(count)})) == warns


def test_overlap_is_measured_on_the_smaller_lung():
    large = block((0, 20), (50, 100))
    for last, expected in ((55, []), (56, ["left_lung and right_lung overlap by 12%"])):
        small = block((0, 10), (last - 50, last))
        warnings = list_mask_warnings({"left_lung": large, "right_lung": small})
        assert [words for words in warnings if "overlap" in words] == expected


def test_heart_may_lie_a_tenth_above_the_lungs_centre():
    lung = block((40, 60), (60, 90))
    for rows, count in (((32, 52), 0), ((28, 48), 1)):
        warnings = list_mask_warnings({"left_lung": lung, "heart": block(rows, (40, 60))})
        assert sum("above" in words for words in warnings) == count
