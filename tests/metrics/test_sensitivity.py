import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from medprior.metrics.sensitivity import compute_sensitivity_specificity, compute_wilson_rate


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.data())
def test_rate_with_one_image_per_patient_is_wilsons(n, data):
    k = data.draw(st.integers(0, n))
    rate = compute_wilson_rate(np.arange(n) < k, np.arange(n))
    expected = binomtest(k, n).proportion_ci(method="wilson")
    # n / (n - 1) in the variance between patients makes ours a trifle wider, never narrower
    assert rate.low <= expected.low + 1e-9
    assert rate.high >= expected.high - 1e-9
    assert rate.low == pytest.approx(expected.low, abs=0.05)
    assert rate.high == pytest.approx(expected.high, abs=0.05)


def test_repeating_each_image_does_not_narrow_the_interval():
    hits = np.random.default_rng(0).random(50) < 0.7
    once = compute_wilson_rate(hits, np.arange(50))
    thrice = compute_wilson_rate(np.repeat(hits, 3), np.repeat(np.arange(50), 3))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


def test_unknown_and_absent():
    truth = np.array([1.0, np.nan, 1.0])
    yes, no = compute_sensitivity_specificity(truth, np.array([0.1, 0.9, 0.6]), 0.5, np.arange(3))
    assert (yes.value, yes.n) == (0.5, 2)
    assert np.isnan(no.value)
    assert no.n == 0


def test_a_score_at_the_threshold_is_positive():
    truth, score = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.5, 0.4, 0.5, 0.6])
    yes, no = compute_sensitivity_specificity(truth, score, 0.5, np.arange(4))
    assert (yes.value, no.value) == (0.5, 0.0)
    yes, no = compute_sensitivity_specificity(truth, score, 0.51, np.arange(4))
    assert (yes.value, no.value) == (0.0, 0.5)


def test_intervals_by_hand():
    """Ten hits of ten: 10 / (10 + z^2). Two patients who are alike within: one effective image."""
    z2 = 1.959964**2
    sure = compute_wilson_rate(np.ones(10, bool), np.arange(10))
    assert (sure.low, sure.high) == (pytest.approx(10 / (10 + z2)), 1)
    halves = compute_wilson_rate(np.repeat([True, False], 5), np.repeat([7, 3], 5))
    half = np.sqrt(z2 * (0.25 + z2 / 4)) / (1 + z2)
    assert (halves.low, halves.high) == pytest.approx((0.5 - half, 0.5 + half))


@pytest.mark.parametrize("n", range(1, 60))
def test_the_interval_holds_a_rate_of_zero_or_one(n):
    for hits in (np.zeros(n, bool), np.ones(n, bool)):
        rate = compute_wilson_rate(hits, np.arange(n))
        assert 0 <= rate.low <= rate.value <= rate.high <= 1
