import numpy as np
import pytest

from medprior.errors import InputMissing
from medprior.metrics.bootstrap import Estimate, Resamples
from medprior.metrics.classification import (
    average_over_labels,
    compute_delong_p,
    estimate_classification,
    estimate_threshold_rates,
    validate_binary_labels,
)
from medprior.metrics.sensitivity import compute_sensitivity_specificity

TRUTH = np.array([[1.0, 1.0], [1.0, np.nan], [0.0, 1.0], [0.0, 1.0]])
PROBABILITY = np.array([[0.9, 0.2], [0.5, 0.2], [0.5, 0.2], [0.1, 0.2]])
DRAWS = Resamples.draw(list("abcd"), 40, seed=0)


def test_labels_with_other_values_are_named():
    assert validate_binary_labels(TRUTH, ["x", "y"]) is TRUTH
    uncertain = np.array([[0.0, -1.0, np.nan], [1.0, 0.0, 0.5]])
    with pytest.raises(InputMissing, match="cannot be ranked") as refusal:
        validate_binary_labels(uncertain, ["x", "y", "z"])
    assert "y, z" in str(refusal.value)
    assert "found -1" in str(refusal.value)


def test_metrics_of_four_images_by_hand():
    """Label y has no negative image: it is listed and counts in no mean."""
    estimates = estimate_classification(TRUTH, PROBABILITY, ["x", "y"], np.array([0.5, 0.5]), DRAWS, bins=2)
    expected = {"auc": 3.5 / 4, "ap": (1 + 2 / 3) / 2, "ece": 0.05, "sensitivity": 1.0, "specificity": 0.5}
    for metric, value in expected.items():
        mean = {"auc": "mauc", "ap": "map"}.get(metric, metric)
        assert estimates[f"classification.{metric}.x"].value == pytest.approx(value), metric
        assert estimates[f"classification.{mean}"].value == pytest.approx(value), metric
    assert len(estimates) == 15
    facts = estimates["classification.mauc"].facts
    assert (facts["classes"], facts["absent"]) == (1, ["y"])
    assert {key: facts["per_class"]["y"][key] for key in ("value", "positives", "negatives")} == {
        "value": None, "positives": 3, "negatives": 0,
    }  # fmt: skip
    assert facts["per_class"]["x"]["positives"] == facts["per_class"]["x"]["negatives"] == 2
    assert estimates["classification.mauc"].n == 4


def test_the_mean_is_over_labels_with_both_classes():
    estimates = [Estimate(value, np.full(3, value), 9) for value in (0.5, 0.7, 0.99)]
    sizes = [{"positives": 2, "negatives": 7}, {"positives": 1, "negatives": 8}, {"positives": 9, "negatives": 0}]
    mean = average_over_labels(estimates, ["a", "b", "c"], sizes, 9)
    assert mean.value == pytest.approx(0.6)
    assert mean.samples == pytest.approx([0.6] * 3)
    assert mean.facts["absent"] == ["c"]
    nothing = average_over_labels(estimates[2:], ["c"], sizes[2:], 9)
    assert np.isnan(nothing.value)
    assert np.isnan(nothing.samples).all()
    assert nothing.facts["classes"] == 0


def test_rates_are_at_or_above_the_threshold_with_wilsons_interval():
    truth, probability = TRUTH[:, 0], PROBABILITY[:, 0]
    for threshold, values in ((0.5, (1.0, 0.5)), (0.51, (0.5, 1.0))):
        estimates = estimate_threshold_rates(truth, probability, threshold, DRAWS)
        rates = compute_sensitivity_specificity(truth, probability, threshold, DRAWS.patient)
        assert tuple(estimate.value for estimate in estimates) == values
        for estimate, rate in zip(estimates, rates, strict=True):
            assert estimate.interval() == (rate.low, rate.high)
            assert estimate.facts == {"threshold": threshold}
            assert estimate.n == 2
            assert np.nanmean(estimate.samples) == pytest.approx(rate.value, abs=0.2)


def test_without_a_threshold_there_are_no_rates():
    for estimate in estimate_threshold_rates(TRUTH[:, 0], PROBABILITY[:, 0], np.nan, DRAWS):
        assert np.isnan(estimate.value)
        assert np.isnan(estimate.samples).all()
        assert len(estimate.samples) == 40
        assert estimate.n == 0


def test_delong_is_left_out_where_it_is_undefined():
    truth, better, worse = np.array([1.0, 1, 0, 0]), np.array([3.0, 2, 1, 0]), np.array([3.0, 1, 2, 0])
    assert compute_delong_p(truth, better, worse) == {"delong_p": pytest.approx(0.4795, abs=1e-4)}
    assert compute_delong_p(truth[1:], better[1:], worse[1:]) == {}
