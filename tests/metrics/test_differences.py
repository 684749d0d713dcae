import numpy as np
import pytest

from medprior.metrics.bootstrap import Estimate
from medprior.metrics.differences import (
    add_baseline_differences,
    compare_spatial_entropies,
    compute_prior_differences,
    compute_random_init_differences,
    describe_difference,
    is_comparable_key,
)


def estimate(value):
    return Estimate(value, np.array([value, value + 0.25]), 10)


def values(estimates):
    return {key: item.value for key, item in estimates.items()}


def test_differences_are_primary_minus_baseline():
    primary = {"classification.mauc": estimate(0.75), "attention.oracle.pixel_ap": estimate(0.5), "own": estimate(1)}
    baseline = {
        "classification.mauc": estimate(0.5),
        "attention.oracle.pixel_ap": estimate(0.25),
        "else": estimate(0.0),
    }
    differences = add_baseline_differences(primary, {"cnn": baseline})
    assert values(differences) == {
        "classification.mauc": 0.75, "attention.oracle.pixel_ap": 0.5, "own": 1,
        "baseline.cnn.classification.mauc": 0.5, "baseline.cnn.attention.oracle.pixel_ap": 0.25,
        "baseline.cnn.else": 0, "difference.cnn.classification.mauc": 0.25,
    }  # fmt: skip
    assert differences["difference.cnn.classification.mauc"].samples.tolist() == [0.25, 0.25]
    assert len(primary) == 3


@pytest.mark.parametrize(
    ("key", "comparable"),
    [
        ("classification.mauc", True), ("attention.pixel_ap.mean", True), ("cardiothoracic.mae", True),
        ("attention.oracle_head.pixel_ap", False), ("features.random_mauc", False),
        ("health.teacher_entropy", False), ("health.feature_std", False), ("cardiothoracic.bias", False),
        ("cardiothoracic.limit_low", False), ("runs.failed", False),
    ],
)  # fmt: skip
def test_what_has_a_meaningful_difference(key, comparable):
    assert is_comparable_key(key) is comparable


def test_attention_is_compared_with_each_prior():
    estimates = {
        "attention.pixel_ap.heart": estimate(0.5), "finetuned_attention.pixel_ap.heart": estimate(0.75),
        "prior.pixel_ap.heart": estimate(0.25), "registered_prior.pixel_ap.heart": estimate(1.0),
        "attention.pixel_ap.mean": estimate(0.5), "features.pixel_ap.heart": estimate(0.5),
    }  # fmt: skip
    assert values(compute_prior_differences(estimates)) == {
        "difference.prior.attention.pixel_ap.heart": 0.25,
        "difference.prior.finetuned_attention.pixel_ap.heart": 0.5,
        "difference.registered_prior.attention.pixel_ap.heart": -0.5,
        "difference.registered_prior.finetuned_attention.pixel_ap.heart": -0.25,
    }


def test_frozen_features_are_compared_with_random_weights():
    estimates = {
        "features.knn": estimate(0.75), "features.random_knn": estimate(0.5), "features.linear": estimate(0.5),
        "attention.knn": estimate(0.5),
    }  # fmt: skip
    assert values(compute_random_init_differences(estimates)) == {"difference.random_weights.features.knn": 0.25}


def test_entropies_are_compared_by_their_ratio():
    primary = {"attention.spatial_entropy": estimate(0.5), "attention.pixel_ap": estimate(0.5)}
    baseline = {"attention.spatial_entropy": estimate(0.625), "attention.pixel_ap": estimate(0.25)}
    relative = compare_spatial_entropies(primary, {"dino": baseline, "other": {}})
    assert values(relative) == {"relative_difference.dino.attention.spatial_entropy": pytest.approx(-0.2)}
    zero = {"attention.spatial_entropy": Estimate(0.0, np.array([0.0, 0.5]), 4)}
    (undefined,) = compare_spatial_entropies(primary, {"dino": zero}).values()
    assert np.isnan(undefined.value)
    assert np.isnan(undefined.samples[0])
    assert undefined.samples[1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("low", "high", "key", "words"),
    [
        (0.1, 0.3, "segmentation.dice.heart", "better"), (-0.3, -0.1, "segmentation.dice.heart", "worse"),
        (0.1, 0.3, "segmentation.hd95_mm.heart", "worse"), (-0.3, -0.1, "segmentation.hd95_mm.heart", "better"),
        (0.1, 0.3, "segmentation.hd95_percent.mean", "worse"),
        (0.1, 0.3, "attention.spatial_entropy", "worse"), (0.1, 0.3, "cost.step_seconds", "worse"),
        (0.1, 0.3, "classification.auc.maes", "better"), (-0.3, -0.1, "cardiothoracic.mae", "better"),
        (0.0, 0.3, "cardiothoracic.mae", "no difference shown"), (-0.3, 0.0, "x", "no difference shown"),
        (np.nan, 0.3, "x", "not measured"), (0.1, None, "x", "not measured"), (0.1, np.inf, "x", "not measured"),
    ],
)  # fmt: skip
def test_a_difference_in_words(low, high, key, words):
    middle = 0.2 if low is None or not low < 0 else -0.2
    assert describe_difference(middle, low, high, key) == words
