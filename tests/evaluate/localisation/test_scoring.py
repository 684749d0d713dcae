"""Which maps answer for a structure, and what they score."""

import numpy as np
import pytest

from medprior.evaluate.localisation.scoring import (
    ANNOTATED_IOU_KEY,
    estimate_localisation,
    localise_structures,
    score_candidates,
)
from medprior.evaluate.localisation.targets import load_true_masks, select_targets
from medprior.metrics.bootstrap import Resamples
from medprior.metrics.pixel_ap import DICE_THRESHOLDS, compute_pixel_ap
from tests.evaluate.localisation.drawn_maps import SIZE, NoisyMasks


def test_assigned_maps_are_taken_and_free_ones_found_on_validation(cohort):
    targets = select_targets(cohort.structures, [])
    test, val = cohort.split("test"), cohort.split("val")
    order = ["heart", "right_lung", "left_lung"]
    free = localise_structures(NoisyMasks(order), test, val, targets, SIZE)
    assert free.chosen == {"heart": (0,), "right_lung": (1,), "left_lung": (2,)}
    assert set(free.rule.values()) == {"best on validation"}
    own = localise_structures(NoisyMasks(order, assigned=order), test, val, targets, SIZE)
    assert own.chosen == free.chosen
    assert set(own.rule.values()) == {"assigned"}
    for name in order:
        np.testing.assert_allclose(own.ap[name], free.ap[name])


def test_scores_are_those_of_one_image_at_a_time(cohort):
    targets = select_targets(cohort.structures, [])
    test = cohort.split("test")
    source = NoisyMasks(["heart", "left_lung"], assigned=["heart", "left_lung"])
    localisation = localise_structures(source, test, cohort.split("val"), targets, SIZE)
    maps = np.concatenate(list(source.batches(test, SIZE)))
    masks = load_true_masks(test, targets, SIZE)
    expected = [compute_pixel_ap(m, t)[0, 0] for m, t in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(localisation.ap["heart"], expected)
    known = test.manifest.mask_heart.notna().to_numpy()
    np.testing.assert_array_equal(~np.isnan(localisation.ap["heart"]), known)
    assert 0 < (~known).sum() < len(known)


def test_two_lungs_answer_for_lungs(lungs_cohort):
    targets = select_targets(lungs_cohort.structures, ["left_lung", "right_lung"])
    assert targets == {"lungs": ("lungs",)}

    class Sides(NoisyMasks):
        def batches(self, cohort, size):
            for maps in super().batches(cohort, size):
                middle = size // 2
                left, right = maps.copy(), maps.copy()
                left[..., :middle], right[..., middle:] = 0, 0
                yield np.concatenate([left, right], axis=1)

    source = Sides(["lungs"], noise=0.0)
    source.count, source.assigned = 2, {"left_lung": 0, "right_lung": 1}
    parts = lungs_cohort.split("test"), lungs_cohort.split("val")
    localisation = localise_structures(source, *parts, targets, SIZE)
    assert localisation.chosen == {"lungs": (0, 1)}
    assert np.nanmin(localisation.ap["lungs"]) > 0.999
    source.assigned = {}
    assert localise_structures(source, *parts, targets, SIZE).chosen == {"lungs": (0, 1)}


def test_estimates_and_oracle(cohort):
    targets = select_targets(cohort.structures, [])
    test = cohort.split("test")
    localisation = localise_structures(NoisyMasks(["heart", "left_lung"]), test, cohort.split("val"), targets, SIZE)
    draws = Resamples.draw(test.patient_ids, 50, 0)
    estimates = estimate_localisation(localisation, draws, "attention")
    assert estimates["attention.pixel_ap.heart"].n == test.manifest.mask_heart.notna().sum()
    names = ("heart", "left_lung", "right_lung")
    mean = np.mean([estimates[f"attention.pixel_ap.{name}"].value for name in names])
    assert estimates["attention.pixel_ap.mean"].value == pytest.approx(mean)
    for name in names:
        oracle = estimates[f"attention.oracle_pixel_ap.{name}"]
        assert oracle.value >= estimates[f"attention.pixel_ap.{name}"].value - 1e-12
        assert oracle.facts["choice"] == "oracle per image"
    assert estimates["attention.dice_at_threshold.heart"].value > 0.8


def test_a_map_that_is_not_there_is_left_out(cohort):
    targets = select_targets(cohort.structures, [])
    source = NoisyMasks(["heart"], assigned=["heart"], has_selectable_maps=False)
    localisation = localise_structures(source, cohort.split("test"), None, targets, SIZE)
    assert localisation.chosen == {"heart": (0,)}
    assert localisation.threshold == {"heart": 0.5}
    assert not localisation.oracle
    free = localise_structures(NoisyMasks(["heart", "left_lung"]), cohort.split("test"), None, targets, SIZE)
    assert not free.chosen


def test_a_threshold_comes_from_the_annotated_image_too(cohort):
    targets = select_targets(cohort.structures, [])
    train, test = cohort.split("train"), cohort.split("test")
    annotated = train.select(train.image_ids[:1])
    source = NoisyMasks(["heart", "left_lung"], assigned=["heart", "left_lung"])
    localisation = localise_structures(source, test, cohort.split("val"), targets, SIZE, annotated)
    curves = score_candidates(source, annotated, targets, [localisation.chosen["heart"]], SIZE).dice[0, 0]
    threshold, values = localisation.annotated["heart"]
    column = list(targets).index("heart")
    assert threshold == DICE_THRESHOLDS[curves[column].argmax()]
    on_test = score_candidates(source, test, targets, [localisation.chosen["heart"]], SIZE).dice[:, 0, column]
    np.testing.assert_array_equal(values, on_test[:, curves[column].argmax()])
    draws = Resamples.draw(test.patient_ids, 50, 0)
    estimate = estimate_localisation(localisation, draws, "attention")[f"attention.{ANNOTATED_IOU_KEY}.heart"]
    expected = np.nanmean(values / (2 - values))
    assert estimate.value == pytest.approx(expected)
    assert estimate.facts["threshold"] == threshold
    assert not localise_structures(source, test, None, targets, SIZE).annotated
