"""Where a finding truly is: masks before boxes, and only in images that have the finding."""

import shutil

import numpy as np
import pytest
from PIL import Image

from medprior.errors import InputMissing
from medprior.evaluate.evaluate import evaluate_cohort
from medprior.evaluate.localisation.finding_masks import FindingTruth
from medprior.evaluate.settings import EvaluateSettings
from tests.evaluate.localisation.conftest import paint_box

QUICK = EvaluateSettings.from_values({"resamples": 60, "map_size": 32, "probe": False})


@pytest.fixture
def truth(spot_boxes):
    return FindingTruth(spot_boxes)


def test_located_is_positive_with_a_mask_or_a_box(located_cohort, truth):
    located = truth.find_located(located_cohort, ["spot", "hole"])
    assert located[:, 0].tolist() == [True, True, False, False, False, False]
    assert located[:, 1].tolist() == [False, False, False, False, False, True]
    assert truth.find_located(located_cohort, []).shape == (6, 0)


def test_findings_without_a_located_image_are_not_listed(located_cohort, truth):
    assert truth.list_located_findings(located_cohort, ["hole", "unheard of", "spot"]) == ["hole", "spot"]
    without_hole = located_cohort.select(["i0", "i1", "i3"])
    assert truth.list_located_findings(without_hole, ["hole", "spot"]) == ["spot"]


def test_images_with_any_located_finding_are_selected_up_to_the_limit(located_cohort, truth):
    names = ["spot", "hole"]
    assert list(truth.select_located_images(located_cohort, names, 10, 0).image_ids) == ["i0", "i1", "i5"]
    assert len(truth.select_located_images(located_cohort, names, 2, 0)) == 2
    assert truth.select_located_images(located_cohort.select(["i3", "i4"]), names, 10, 0) is None


def test_a_mask_is_used_before_boxes_and_boxes_are_joined(located_cohort, truth):
    masks = truth.load_masks(located_cohort, ["spot"], 16)[:, 0]
    np.testing.assert_array_equal(masks[0], paint_box(0, 0, 8, 8))
    np.testing.assert_array_equal(masks[1], paint_box(0, 8, 16, 8) | paint_box(8, 0, 8, 8))
    # A mask without the finding, neither, and an unknown label with a box.
    assert not masks[2:5].any()


def test_a_finding_smaller_than_a_pixel_keeps_the_pixel_with_its_largest_share(located_cohort, truth):
    """Two pixels of 16 x 16 lie in one of 4 x 4, an eighth of it: below half, but not lost."""
    small = truth.load_masks(located_cohort, ["hole"], 4)[5, 0]
    assert np.argwhere(small).tolist() == [[1, 2]]


def test_a_mask_of_another_size_is_refused(tmp_path, planted_home, planted_models):
    shutil.copytree(planted_home, tmp_path / "c", ignore=shutil.ignore_patterns("cache"))
    for mask in (tmp_path / "c" / "masks" / "spot").glob("*.png"):
        Image.fromarray(np.zeros((5, 5), np.uint8)).save(mask)
    with pytest.raises(InputMissing, match="'spot' has another size than its image"):
        evaluate_cohort(tmp_path / "c", tmp_path / "out", model=planted_models["plain"], settings=QUICK)
