"""Two masks named lung are the two lungs only side by side; equal names are joined otherwise."""

import numpy as np
import pytest

from medprior.dicom.lung_sides import assign_lung_sides, compute_centre_column, is_lung_pair

WIDTH = 400


def build_mask(first_column, columns=100, width=WIDTH):
    """A mask of one row, set from `first_column` on."""
    mask = np.zeros((1, width), bool)
    mask[:, first_column : first_column + columns] = True
    return mask


@pytest.mark.parametrize("turned", [False, True])
def test_the_lung_on_the_pictures_left_is_the_right_one(turned):
    on_left, on_right = build_mask(20), build_mask(250)
    parts = [("Lung", on_left), ("lungs ", on_right)]
    masks, warnings = assign_lung_sides(parts[::-1] if turned else parts)
    assert list(masks) == ["right_lung", "left_lung"]
    np.testing.assert_array_equal(masks["right_lung"], on_left)
    np.testing.assert_array_equal(masks["left_lung"], on_right)
    assert len(warnings) == 1


@pytest.mark.parametrize(("second_column", "is_pair"), [(95, True), (94, False)])
def test_two_lungs_overlap_by_at_most_a_twentieth(second_column, is_pair):
    assert is_lung_pair([build_mask(0), build_mask(second_column)]) == is_pair


def test_the_overlap_is_a_share_of_the_smaller_mask():
    # Ten of the 100 pixels of the small one, but of the 300 of the large one only a thirtieth.
    assert not is_lung_pair([build_mask(0, 300), build_mask(290, 100)])
    assert is_lung_pair([build_mask(0, 300), build_mask(295, 100)])


@pytest.mark.parametrize(("second_column", "is_pair"), [(61, True), (59, False)])
def test_the_centres_of_two_lungs_are_15_percent_of_the_width_apart(second_column, is_pair):
    assert is_lung_pair([build_mask(0, 20), build_mask(second_column, 20)]) == is_pair


def test_one_above_the_other_an_empty_mask_or_three_are_no_pair():
    upper, lower = np.zeros((2, 9), bool), np.zeros((2, 9), bool)
    upper[0], lower[1] = True, True
    assert not is_lung_pair([upper, lower])
    assert not is_lung_pair([build_mask(0), np.zeros((1, WIDTH), bool)])
    assert not is_lung_pair([build_mask(0), build_mask(200), build_mask(300)])


def test_a_centre_is_in_the_middle_of_its_pixels():
    assert compute_centre_column(build_mask(0, 4, width=4)) == 0.5
    assert compute_centre_column(build_mask(0, 1, width=4)) == 0.125


@pytest.mark.parametrize("sided", ["left_lung", "right_lung"])
def test_next_to_a_lung_with_a_side_the_others_are_parts_of_one_structure(sided):
    masks, warnings = assign_lung_sides(
        [("lung", build_mask(20)), (sided, build_mask(140)), ("lungs", build_mask(250))]
    )
    assert set(masks) == {"lung", sided}
    np.testing.assert_array_equal(masks["lung"], build_mask(20) | build_mask(250))
    np.testing.assert_array_equal(masks[sided], build_mask(140))
    assert "lung: 2 drawings" in warnings[0]


def test_single_masks_keep_their_names_without_a_warning():
    masks, warnings = assign_lung_sides([("Lung", build_mask(20)), ("heart", build_mask(150))])
    assert (list(masks), warnings) == (["Lung", "heart"], ())
