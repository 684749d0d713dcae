"""Maps of a finding are chosen on validation images alone, then scored on the others."""

import numpy as np
import pytest

from medprior.evaluate.localisation.finding_masks import FindingTruth
from medprior.evaluate.localisation.finding_scores import (
    FindingScores,
    add_wilson_bounds,
    choose_finding_maps,
    estimate_finding_scores,
    list_finding_candidates,
    localise_findings,
    score_finding_maps,
)
from medprior.metrics.bootstrap import Resamples, estimate_mean


class FixedMaps:
    """The same maps for every image: full mass on the left half, the right half, and a weak square in the corner."""

    has_selectable_maps = True

    def __init__(self, assigned=None):
        self.assigned = assigned or {}
        left, right, corner = (np.zeros((16, 16), np.float32) for _ in range(3))
        left[:, :8], right[:, 8:] = 1, 1
        corner[:8, :8], corner[8:, :8] = 1, 0.2
        self.maps = np.stack([left, right, corner])
        self.count = len(self.maps)

    def batches(self, cohort, size):
        for start in range(0, len(cohort), 2):
            yield np.repeat(self.maps[None], min(2, len(cohort) - start), axis=0)


@pytest.fixture
def load_truth(spot_boxes):
    return lambda cohort: FindingTruth(spot_boxes).load_masks(cohort, ["spot"], 16)


def test_candidates_are_the_assigned_map_or_each_and_the_mean_of_all():
    source = FixedMaps({"spot": 2})
    assert list_finding_candidates(source, "spot") == [(2,)]
    assert list_finding_candidates(source, "hole") == [(0,), (1,), (2,), (0, 1, 2)]


def test_each_image_is_scored_against_its_own_mask(located_cohort, load_truth):
    """Image 0: the upper left quarter. Image 1: three quarters, without that one. Image 3: nothing."""
    part = located_cohort.select(["i0", "i1", "i3"])
    scores = score_finding_maps(FixedMaps(), part, load_truth(part), [(0,), (1,), (2,)], 0.0)
    np.testing.assert_allclose(scores.energy[:, :, 0], [[0.5, 0, 64 / 76.8], [0.5, 1, 12.8 / 76.8], [np.nan] * 3])
    np.testing.assert_allclose(scores.pointing[:2, :, 0], [[0.5, 0, 1], [0.5, 1, 0]])
    assert scores.pixel_ap[0, 2, 0] == 1
    assert scores.dice.shape == (3, 3, 1, 99)


def test_the_best_map_on_validation_gives_map_and_threshold(located_cohort, load_truth):
    validation = located_cohort.select(["i0", "i3"])
    candidate, rule, threshold, on_validation = choose_finding_maps(FixedMaps(), ["spot"], validation, load_truth, 0.0)[
        "spot"
    ]
    assert (candidate, rule, on_validation) == ((2,), "best on validation", True)
    # Above 0.2 only the quarter is left; 0.21 is the first such threshold.
    assert threshold == pytest.approx(0.21)


@pytest.mark.parametrize("validation", [None, ["i3"]])
def test_without_a_located_validation_image_maps_are_averaged_and_cut_at_half(located_cohort, load_truth, validation):
    selection = validation and located_cohort.select(validation)
    choices = choose_finding_maps(FixedMaps(), ["spot"], selection, load_truth, 0.0)
    assert choices["spot"] == ((0, 1, 2), "mean of all, no validation image to choose on", 0.5, False)
    assigned = choose_finding_maps(FixedMaps({"spot": 1}), ["spot"], selection, load_truth, 0.0)
    assert assigned["spot"] == ((1,), "its own", 0.5, False)


def test_evaluated_images_do_not_choose(located_cohort, load_truth):
    """Image 1 would take the right half; image 0 chose the corner, and at 0.21 no pixel of it is right."""
    part, validation = located_cohort.select(["i1"]), located_cohort.select(["i0"])
    scores = localise_findings(FixedMaps(), ["spot"], part, validation, load_truth, 0.0)["spot"]
    assert scores.chosen == (2,)
    assert scores.scores["iou"].tolist() == [0]
    assert scores.scores["pointing"].tolist() == [0]
    assert scores.scores["energy"] == pytest.approx([12.8 / 76.8])


def test_the_threshold_is_a_share_of_the_maximum(located_cohort, load_truth):
    """The corner map at half: one quarter; against three quarters without it nothing, against its own all."""
    part = located_cohort.select(["i0", "i1"])
    scores = localise_findings(FixedMaps({"spot": 2}), ["spot"], part, None, load_truth, 0.0)["spot"]
    assert scores.scores["iou"].tolist() == [1, 0]
    assert scores.threshold == 0.5


def test_a_pixel_at_the_threshold_counts(located_cohort, load_truth):
    """A lower left quarter at just half of the maximum makes the map the left half: 1 / 2 and 64 / 256."""
    source, part = FixedMaps({"spot": 2}), located_cohort.select(["i0", "i1"])
    source.maps[2, 8:, :8] = 0.5
    scores = localise_findings(source, ["spot"], part, None, load_truth, 0.0)["spot"]
    np.testing.assert_allclose(scores.scores["iou"], [0.5, 0.25])


def test_pointing_of_hits_alone_gets_wilsons_interval():
    """Ten hits of ten: Wilson's lower bound is 10 / (10 + 1.96 ** 2), the resampled one would be 1."""
    draws = Resamples.draw([str(number) for number in range(11)], 20, 0)
    hits = np.array([1.0] * 10 + [np.nan])
    estimate = add_wilson_bounds(estimate_mean(hits, draws), hits, draws)
    assert estimate.interval() == pytest.approx((10 / (10 + 1.959964**2), 1.0))
    shares = np.array([0.5] + [1.0] * 9 + [np.nan])
    assert add_wilson_bounds(estimate_mean(shares, draws), shares, draws).bounds is None
    unknown = np.full(11, np.nan)
    assert add_wilson_bounds(estimate_mean(unknown, draws), unknown, draws).bounds is None


def test_estimates_name_metric_and_finding_and_average_over_findings():
    draws = Resamples.draw(["a", "b"], 20, 0)

    def constant(value, threshold):
        scores = {metric: np.full(2, value) for metric in ("pointing", "iou", "energy", "pixel_ap")}
        return FindingScores((1,), "its own", threshold, True, scores)

    estimates = estimate_finding_scores({"spot": constant(0.2, 0.3), "hole": constant(0.6, 0.7)}, draws, "maps", 0.03)
    assert estimates["maps.iou.mean"].value == pytest.approx(0.4)
    assert estimates["maps.iou.hole"].facts["threshold"] == 0.7
    assert estimates["maps.pointing.spot"].facts["tolerance"] == 0.03
    assert "threshold" not in estimates["maps.energy.spot"].facts
    assert len(estimates) == 12
    assert estimate_finding_scores({}, draws, "maps", 0.03) == {}
