import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from medprior.metrics.auc import compute_auc
from medprior.metrics.bootstrap import (
    Estimate,
    Resamples,
    average_estimates,
    estimate_auc_and_ap,
    estimate_mean,
    has_finite_value,
)


def clustered(rng, patients=60, images=150):
    """Patients with several images that share a disease and part of the noise."""
    patient = rng.integers(0, patients, images)
    truth = (rng.random(patients) < 0.4)[patient].astype(float)
    score = truth + rng.normal(size=patients)[patient] + rng.normal(size=images)
    return np.array([f"p{i}" for i in patient]), truth, np.round(score, 1)


def test_every_resample_equals_sklearn_with_weights():
    patient, truth, score = clustered(np.random.default_rng(1))
    truth[::17] = np.nan
    draws = Resamples.draw(patient, 300, seed=3)
    aucs, precisions = draws.auc_and_ap(truth, score)
    weights = np.concatenate(draws.blocks, axis=1)[draws.patient]
    known = ~np.isnan(truth)
    assert weights.shape == (150, 300)
    for i in range(0, 300, 29):
        w = weights[known, i]
        expected = roc_auc_score(truth[known], score[known], sample_weight=w)
        assert aucs[i] == pytest.approx(expected, abs=1e-9)
        expected = average_precision_score(truth[known], score[known], sample_weight=w)
        assert precisions[i] == pytest.approx(expected, abs=1e-9)


def test_draws_are_of_patients_with_replacement_and_repeatable():
    patient = np.array(list("aaabbcdd"))
    one, two = (Resamples.draw(patient, 200, seed=5) for _ in range(2))
    counts = np.concatenate(one.blocks, axis=1)
    assert counts.shape == (4, 200)
    assert (counts.sum(axis=0) == 4).all()
    assert counts.min() == 0
    assert counts.max() > 1
    for a, b in zip(one.blocks, two.blocks, strict=True):
        np.testing.assert_array_equal(a, b)
    other = np.concatenate(Resamples.draw(patient, 200, seed=6).blocks, axis=1)
    assert (other != counts).any()


def test_mean_is_a_ratio_over_the_drawn_images_and_skips_unknown():
    patient, values = np.array(list("aabc")), np.array([1.0, 3.0, np.nan, 5.0])
    draws = Resamples.draw(patient, 400, seed=0)
    w = np.concatenate(draws.blocks, axis=1)[draws.patient][[0, 1, 3]]
    total = w.sum(0)
    expected = np.where(total > 0, (w * values[[0, 1, 3], None]).sum(0) / np.maximum(total, 1), np.nan)
    np.testing.assert_allclose(draws.mean(values), expected)
    estimate = estimate_mean(values, draws)
    assert estimate.value == 3
    assert estimate.n == 3


def test_difference_is_paired():
    patient, truth, score = clustered(np.random.default_rng(2))
    draws = Resamples.draw(patient, 500, seed=1)
    (a,), _ = estimate_auc_and_ap(truth[:, None], score[:, None], draws)
    (b,), _ = estimate_auc_and_ap(truth[:, None], score[:, None], draws)
    assert (a - b).interval() == (0, 0)
    noisy = score + np.random.default_rng(3).normal(size=len(score)) / 10
    (c,), _ = estimate_auc_and_ap(truth[:, None], noisy[:, None], draws)
    low, high = (a - c).interval()
    assert high - low < np.subtract(*a.interval()[::-1]) / 3
    assert (a - c).value == pytest.approx(compute_auc(truth, score) - compute_auc(truth, noisy))


def test_an_absent_class_leaves_the_mean_alone():
    patient, truth, score = clustered(np.random.default_rng(4))
    draws = Resamples.draw(patient, 100, seed=1)
    both = np.stack([truth, np.zeros_like(truth)], axis=1)
    aucs, _ = estimate_auc_and_ap(both, np.stack([score, score], axis=1), draws)
    mean = average_estimates(aucs, n=len(truth))
    assert np.isnan(aucs[1].value)
    assert aucs[1].record()["value"] is None
    assert aucs[1].record()["ci95"] == [None, None]
    assert mean.value == aucs[0].value
    np.testing.assert_array_equal(mean.samples, aucs[0].samples)


def test_one_patient_has_an_interval_without_width():
    estimate = estimate_mean(np.array([0.2, 0.4]), Resamples.draw(["p", "p"], 50, seed=0))
    assert estimate.interval() == pytest.approx((0.3, 0.3))
    assert Estimate(np.nan, np.full(3, np.nan), 0).record()["ci95"] == [None, None]


def test_coverage_by_simulation():
    """95 % intervals hold the population AUC in 90 to 99 % of 300 simulated clustered studies.

    A bootstrap of images instead of patients, checked beside it, must fail the same bound: the test
    would notice if patients were forgotten.
    """
    from scipy.stats import norm

    population = norm.cdf(1 / 2)  # scores differ by 1, variance 2 in each class
    hits = {"patients": 0, "images": 0}
    for seed in range(300):
        rng = np.random.default_rng([seed, 99])
        owner = np.repeat(np.arange(40), 5)
        truth = (np.arange(40) % 2)[owner].astype(float)
        score = truth + rng.normal(size=40)[owner] + rng.normal(size=200)
        for name, unit in (("patients", owner), ("images", np.arange(200))):
            aucs, _ = Resamples.draw(unit, 200, seed).auc_and_ap(truth, score)
            low, high = Estimate(0.0, aucs, 0).interval()
            hits[name] += low <= population <= high
    assert 0.89 <= hits["patients"] / 300 <= 0.99
    assert hits["images"] / 300 < 0.85


@pytest.mark.slow
def test_a_reviewers_bootstrap_takes_seconds():
    rng = np.random.default_rng(0)
    truth = (rng.random((25_000, 14)) < rng.uniform(0.002, 0.3, 14)).astype(float)
    score = rng.normal(size=truth.shape) + truth
    start = time.process_time()  # of all threads, so that a busy machine does not matter
    estimate_auc_and_ap(truth, score, Resamples.draw(rng.integers(0, 7_000, 25_000), 1_000, seed=0))
    assert time.process_time() - start < 10


def test_relative_difference_and_bounds():
    one, other = Estimate(0.5, np.array([0.5, 0.25]), 7), Estimate(0.625, np.array([0.5, 0.0]), 5)
    relative = one.relative_difference(other)
    assert relative.value == pytest.approx(-0.2)
    assert relative.samples[0] == 0
    assert np.isnan(relative.samples[1])
    assert relative.n == 5
    assert Estimate(0.5, np.zeros(3), 1, bounds=(0.25, 0.75)).interval() == (0.25, 0.75)
    assert Estimate(0.5, np.arange(41) / 40, 1).interval() == pytest.approx((0.025, 0.975))
    assert has_finite_value({"value": 0.0})
    assert not has_finite_value({"value": None})
    assert not has_finite_value({"value": float("inf")})
