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
    found = compute_wilson_rate(np.arange(n) < k, np.arange(n))
    expected = binomtest(k, n).proportion_ci(method="wilson")
    # n / (n - 1) in the variance between patients makes ours a trifle wider, never narrower
    assert found.low <= expected.low + 1e-9
    assert found.high >= expected.high - 1e-9
    assert found.low == pytest.approx(expected.low, abs=0.05)
    assert found.high == pytest.approx(expected.high, abs=0.05)


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
