"""The interval of an AUC from its value and the class sizes."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from medprior.metrics.newcombe import compute_newcombe_auc_interval


def solve_bounds(auc, m, n):
    """Newcombe's method 5 as he writes it, its two equations solved by SciPy."""
    star = (m + n) / 2 - 1

    def score(area, sign):
        variance = area * (1 - area) * (1 + star * (1 - area) / (2 - area) + star * area / (1 + area)) / (m * n)
        return auc - area - sign * norm.ppf(0.975) * np.sqrt(variance)

    low = brentq(score, 1e-9, min(auc, 1 - 1e-9), (1,)) if auc > 1e-6 else 0.0  # 1 solves it trivially
    high = brentq(score, auc, 1 - 1e-9, (-1,)) if auc < 1 - 1e-6 else 1.0
    return low, high


@pytest.mark.parametrize(("auc", "m", "n"), [(0.8, 20, 50), (0.37, 11, 40), (0.5, 3, 3), (0.99, 100, 900), (1.0, 4, 6)])
def test_bounds_solve_the_published_equations(auc, m, n):
    assert compute_newcombe_auc_interval(auc, m, n) == pytest.approx(solve_bounds(auc, m, n), abs=1e-6)


def test_a_perfect_auc_of_few_images_has_a_width():
    low, high = compute_newcombe_auc_interval(1.0, 3, 3)
    assert low < 0.6
    assert high == pytest.approx(1)
    assert compute_newcombe_auc_interval(1.0, 300, 300)[0] > 0.98
    assert compute_newcombe_auc_interval(0.0, 3, 3) == pytest.approx((0, 1 - low), abs=1e-9)


def test_intervals_cover_the_true_auc():
    """Normal scores one apart have an AUC of 0.760; 19 of 20 intervals hold it."""
    rng, true, m, n = np.random.default_rng(0), norm.cdf(1 / np.sqrt(2)), 15, 25
    hits = 0
    for _ in range(1000):
        wins = rng.normal(1, 1, (m, 1)) > rng.normal(0, 1, (1, n))
        low, high = compute_newcombe_auc_interval(float(wins.mean()), m, n)
        hits += low <= true <= high
    assert 0.93 <= hits / 1000 <= 0.98
