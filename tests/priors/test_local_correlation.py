import numpy as np
import pytest
from scipy import optimize

from medprior.priors.local_correlation import VARIANCE_FLOOR, LocalCorrelation


def slow_local_correlation(fixed, moved, radius):
    values = []
    for y in range(len(fixed)):
        for x in range(len(fixed)):
            window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            f, m = fixed[window].ravel(), moved[window].ravel()
            common = ((f - f.mean()) * (m - m.mean())).mean()
            values.append(common**2 / ((f.var() + VARIANCE_FLOOR) * (m.var() + VARIANCE_FLOOR)))
    return np.mean(values)


def test_local_correlation_is_the_slow_one_and_its_gradient_is_exact():
    rng = np.random.default_rng(0)
    fixed, moved = rng.random((2, 12, 12))
    measure = LocalCorrelation(fixed, 2)
    value, gradient = measure(moved)
    assert value == pytest.approx(slow_local_correlation(fixed, moved, 2), rel=1e-9)
    slopes = optimize.approx_fprime(moved.ravel(), lambda flat: measure(flat.reshape(12, 12))[0], 1e-7).reshape(12, 12)
    np.testing.assert_allclose(gradient, slopes, atol=1e-6)


def test_local_correlation_is_blind_to_brightness_and_contrast():
    fixed, moved = np.random.default_rng(1).random((2, 20, 20))
    measure = LocalCorrelation(fixed, 3)
    assert measure(-3 * fixed + 1)[0] > 0.99
    assert measure(moved)[0] == pytest.approx(measure(5 * moved - 2)[0], abs=2e-3)


def test_a_flat_window_correlates_with_nothing():
    textured = np.random.default_rng(2).random((10, 10))
    value, gradient = LocalCorrelation(textured, 2)(np.full((10, 10), 0.5))
    assert value == pytest.approx(0, abs=1e-20)
    np.testing.assert_allclose(gradient, 0, atol=1e-9)
