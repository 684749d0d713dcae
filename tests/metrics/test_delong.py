import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm

from medprior.metrics.delong import compute_structural_components, run_delong_test
from tests.evaluate.slow_twins import slow_delong_variance

EDGE_SCORES = st.sampled_from([0.0, -0.0, 5e-324, 1.0, 1e308, -1e308]) | st.floats(-1, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 20), st.integers(2, 20), st.data())
def test_equals_the_pairwise_definition(positives, negatives, data):
    truth = np.repeat([1.0, 0.0], [positives, negatives])
    a, b = data.draw(hnp.arrays(np.float64, (2, len(truth)), elements=EDGE_SCORES))
    result = run_delong_test(truth, a, b)
    auc_a, auc_b, variance = slow_delong_variance(truth, a, b)
    assert result.auc_a == pytest.approx(auc_a)
    assert result.auc_b == pytest.approx(auc_b)
    assert result.standard_error == pytest.approx(np.sqrt(max(variance, 0)), abs=1e-8)
    if variance > 1e-12:
        assert result.p == pytest.approx(2 * norm.sf(abs(auc_a - auc_b) / np.sqrt(variance)))


def test_is_level_under_the_null():
    """With no true difference p < 0.05 in about 5 % of studies."""
    small = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        truth = np.repeat([0.0, 1.0], 60)
        shared = rng.normal(size=120) + truth
        small += run_delong_test(truth, *(shared + rng.normal(size=(2, 120)))).p < 0.05
    assert 0.02 < small / 400 < 0.09


def test_unknown_truth_is_left_out_and_too_few_images_are_nan():
    truth = np.array([0, 0, 1, 1, np.nan])
    a, b = np.array([0.1, 0.4, 0.35, 0.8, 9.0]), np.array([0.2, 0.1, 0.3, 0.9, -9.0])
    assert run_delong_test(truth, a, b) == run_delong_test(truth[:4], a[:4], b[:4])
    assert run_delong_test(truth, a, a).p == 1
    assert np.isnan(run_delong_test(truth[1:], a[1:], b[1:]).p)


def test_four_images_by_hand():
    """AUC 3/4 against 1; components differ by (0, 1/2) in both classes: variance 2 * (1/8) / 2."""
    result = run_delong_test(np.array([1.0, 1, 0, 0]), np.array([3.0, 1, 2, 0]), np.array([3.0, 2, 1, 0]))
    assert (result.auc_a, result.auc_b) == (0.75, 1)
    assert result.standard_error == pytest.approx(np.sqrt(1 / 8))
    assert result.p == pytest.approx(2 * norm.sf(np.sqrt(1 / 2)))


def test_a_difference_without_variance_is_certain():
    truth = np.array([1.0, 1, 0, 0])
    assert run_delong_test(truth, truth, -truth).p == 0
    positives, negatives = compute_structural_components(truth, np.array([3.0, 1, 1, 0]))
    assert positives.tolist() == [1, 0.75]
    assert negatives.tolist() == [0.75, 1]
