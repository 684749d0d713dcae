"""Overlap in shares, distances in millimetres."""

import numpy as np
import pytest

from medprior.evaluate.sections.segmentation import (
    compute_longer_sides_mm,
    compute_overlap_scores,
    compute_pixel_percents,
    estimate_segmentation,
)
from medprior.metrics.bootstrap import Resamples


def test_a_pixel_of_the_unit_square_is_a_share_of_each_side(cohort):
    """72 x 64 pixels of 5 mm on 32 x 32: the longer side is 360 mm from a detector, unknown on film."""
    np.testing.assert_allclose(compute_pixel_percents(cohort, 32), [[100 / 32, 100 / 36]] * len(cohort))
    sides = compute_longer_sides_mm(cohort)
    detector = (cohort.manifest.spacing_kind == "detector").to_numpy()
    assert 0 < detector.sum() < len(detector)
    np.testing.assert_allclose(sides[detector], 360)
    assert np.isnan(sides[~detector]).all()


def test_distances_are_millimetres_and_unknown_without_a_pixel_size(cohort):
    """A rectangle one row lower: 11.25 mm in the image from a detector, unknown in the one from film."""
    part = cohort.select(["i001", "i002"])
    truth, predicted = np.zeros((2, 2, 32, 32), dtype=bool)
    truth[:, 8:16, 8:24], predicted[:, 9:17, 8:24] = True, True
    scores = compute_overlap_scores(predicted, truth, part)
    assert scores["hd95_mm"][0] == pytest.approx(11.25)
    assert np.isnan(scores["hd95_mm"][1])
    np.testing.assert_allclose(scores["hd95_percent"], 100 / 32)
    assert set(compute_overlap_scores(predicted, truth, part, with_distances=False)) == {"dice", "iou"}
    # 7 of 8 rows are shared: Dice 7 / 8, IoU 7 / 9.
    np.testing.assert_allclose(scores["dice"], 7 / 8)
    np.testing.assert_allclose(scores["iou"], 7 / 9)


def test_means_are_over_structures_with_a_value():
    draws = Resamples.draw(["a", "b"], 10, 0)
    unknown = np.full(2, np.nan)
    scores = {
        "heart": {"dice": np.array([0.5, np.nan]), "hd95_mm": unknown},
        "left_lung": {"dice": np.array([1.0, 0.8]), "hd95_mm": unknown},
    }
    estimates = estimate_segmentation(scores, draws)
    assert set(estimates) == {f"segmentation.dice.{name}" for name in ("heart", "left_lung", "mean")}
    assert estimates["segmentation.dice.heart"].n == 1
    # Structures count alike, however many images they have.
    assert estimates["segmentation.dice.mean"].value == pytest.approx((0.5 + 0.9) / 2)
