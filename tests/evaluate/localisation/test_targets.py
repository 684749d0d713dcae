"""Structures that are scored, and their true masks on unit squares."""

import numpy as np
import pytest
from PIL import Image

from medprior.cohort import Cohort, CohortWriter
from medprior.errors import InputMissing
from medprior.evaluate.localisation.targets import (
    check_mask_size,
    find_target_maps,
    load_true_masks,
    select_annotated_targets,
    select_targets,
)
from tests.evaluate.localisation.drawn_maps import SIZE


def test_targets():
    sides = ("left_lung", "right_lung")
    assert select_targets([*sides, "heart", "nodule"], []) == {n: (n,) for n in sorted([*sides, "heart"])}
    assert select_targets(["nodule"], ["nodule"]) == {"nodule": ("nodule",)}
    assert select_targets([*sides, "heart"], ["lungs", "heart"]) == {"heart": ("heart",), "lungs": sides}
    assert select_targets(["lungs"], [*sides, "heart"]) == {"lungs": ("lungs",)}
    assert select_targets([*sides], [*sides, "lungs"]) == {name: (name,) for name in sides}


def test_channels():
    assert find_target_maps("lungs", {"left_lung": 3, "right_lung": 1}) == (3, 1)
    assert find_target_maps("lungs", {"lungs": 2, "left_lung": 3, "right_lung": 1}) == (2,)
    assert find_target_maps("lungs", {"left_lung": 3}) is None


def test_lungs_map_is_scored_on_the_union_of_two_masks(cohort):
    targets = select_targets(cohort.structures, ["lungs", "heart"])
    test = cohort.split("test")
    union = load_true_masks(test, targets, SIZE)[:, list(targets).index("lungs")]
    sides = [test.mask_squares(side, SIZE)[0] >= 0.5 for side in targets["lungs"]]
    np.testing.assert_array_equal(union, sides[0] | sides[1])


def write_sides(path, images):
    """A cohort of 16 x 16 pixel images with the given masks."""
    with CohortWriter(path, store_size=16) as writer:
        for number, masks in enumerate(images):
            pixels = np.full((16, 16), number / 8, np.float32)
            writer.add(image_id=f"i{number}", pixels=pixels, patient_id=f"p{number}", masks=masks)
        writer.finish()
    return Cohort.open(path)


@pytest.fixture
def sides_cohort(tmp_path):
    left, right = np.zeros((2, 16, 16), dtype=bool)
    left[:, :8], right[:, 12:] = True, True
    return write_sides(
        tmp_path / "c", [{"left_lung": left}, {"right_lung": right}, {"left_lung": left, "heart": right}]
    )


def test_a_union_is_unknown_where_one_part_is(sides_cohort):
    masks = load_true_masks(sides_cohort, {"lungs": ("left_lung", "right_lung"), "left_lung": ("left_lung",)}, 16)
    assert not masks[:, 0].any()
    assert masks[:, 1].any(axis=(1, 2)).tolist() == [True, False, True]


def test_a_pixel_that_is_covered_by_half_counts(sides_cohort):
    """At 2 x 2 the left half covers the left pixels whole; the right quarter covers the right ones by half."""
    masks = load_true_masks(sides_cohort, {"left_lung": ("left_lung",), "heart": ("heart",)}, 2)[2]
    assert masks[0].tolist() == [[True, False]] * 2
    assert masks[1].tolist() == [[False, True]] * 2


def test_a_target_needs_one_image_with_all_its_masks(sides_cohort):
    targets = {"lungs": ("left_lung", "right_lung"), "both": ("left_lung", "heart"), "left_lung": ("left_lung",)}
    assert list(select_annotated_targets(sides_cohort, targets)) == ["both", "left_lung"]


def test_a_mask_of_another_size_is_refused_and_an_absent_one_is_not(sides_cohort):
    check_mask_size(sides_cohort, "unheard of")
    check_mask_size(sides_cohort, "heart")
    check_mask_size(sides_cohort.select(["i0"]), "heart")
    path = sides_cohort.path / "masks" / "heart" / "i2.png"
    Image.fromarray(np.zeros((8, 16), np.uint8)).save(path)
    with pytest.raises(InputMissing, match="'heart' has another size than its image") as caught:
        check_mask_size(sides_cohort, "heart")
    assert "8x16" in str(caught.value)
