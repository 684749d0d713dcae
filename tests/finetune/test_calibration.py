import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_curve

from medprior.finetune.calibration import (
    compute_probabilities,
    compute_youden_threshold,
    fit_temperature,
    has_both_classes,
)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(true):
    rng = np.random.default_rng(0)
    z = rng.normal(0, 3, 20_000)
    y = (rng.random(len(z)) < 1 / (1 + np.exp(-z / true))).astype(np.float32)
    y[::7] = np.nan
    assert fit_temperature(z, y) == pytest.approx(true, rel=0.06)


def test_no_other_temperature_is_more_likely_on_many_images():
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2, 20_000)
    y = (rng.random(len(z)) < 1 / (1 + np.exp(-z / 3))).astype(float)

    def cost(t):
        return np.mean(np.logaddexp(0, z / t) - y * z / t)

    assert cost(fit_temperature(z, y)) <= min(map(cost, np.linspace(0.5, 8, 100))) + 1e-7


def test_few_or_one_sided_images_do_not_run_away():
    assert fit_temperature(np.array([3.0, 2.0]), np.array([1.0, np.nan])) == 1
    perfect = fit_temperature(np.array([-1.0, -0.5, 0.5, 1.0]), np.array([0.0, 0, 1, 1]))
    assert 0.2 < perfect < 1


def test_probabilities_keep_the_order():
    z = np.array([[-2.0, 0], [1, 3]])
    p = compute_probabilities(z, np.array([2.0, 0.5]))
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-z / [2.0, 0.5])), rtol=1e-6)


EDGE_PROBABILITIES = st.sampled_from([0.0, 2.0**-149, 0.5, 0.5 + 2.0**-24, 1 - 2.0**-24, 1.0])


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(np.float32, 12, elements=EDGE_PROBABILITIES | st.floats(0, 1, width=32)),
    hnp.arrays(bool, 12),
)
def test_youden_reaches_sklearns_best_point(score, positive):
    truth = positive.astype(float)
    truth[:2] = 0, 1
    false, true, _ = roc_curve(truth, score)
    called = score.astype(np.float64) >= compute_youden_threshold(score, truth)
    reached = called[truth == 1].mean() - called[truth == 0].mean()
    assert reached == pytest.approx(max(true - false))


def test_youden_is_the_best_of_all_thresholds():
    rng = np.random.default_rng(2)
    for _ in range(30):
        y = rng.integers(0, 2, 30).astype(float)
        p = np.clip(0.5 + 0.2 * (y - 0.5) + rng.normal(0, 0.2, 30), 0, 1).round(1)
        y[0], y[1], y[2], y[3] = 0, 1, np.nan, 0.5

        def gain(t, p=p, y=y):
            return (p[y == 1] >= t).mean() + (p[y == 0] < t).mean()

        assert gain(compute_youden_threshold(p, y)) == pytest.approx(max(gain(t) for t in np.linspace(0, 1.1, 221)))
        assert 0 <= compute_youden_threshold(p, y) <= 1
    assert compute_youden_threshold(np.array([0.3, 0.4]), np.array([0.0, 0.0])) == 0.5
    assert compute_youden_threshold(np.array([0.2, 0.8]), np.array([0.0, 1.0])) == pytest.approx(0.5)


def test_the_temperature_of_few_images_is_the_posterior_mode():
    """A grid over log T of likelihood and unit normal prior, written out."""
    z, y = np.array([-2.0, -1, 0.5, 3]), np.array([0.0, 1, 0.25, 1])
    grid = np.linspace(np.log(0.2), np.log(20), 100_001)
    cost = grid**2 / 2
    for logit, label in zip(z, y, strict=True):
        probability = 1 / (1 + np.exp(-logit / np.exp(grid)))
        cost -= label * np.log(probability) + (1 - label) * np.log(1 - probability)
    assert fit_temperature(z, y) == pytest.approx(np.exp(grid[cost.argmin()]), rel=1e-3)


def test_temperatures_stay_within_their_bounds():
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(0, 300, 4000), rng.integers(0, 2, 4000).astype(float)
    assert 19 < fit_temperature(noise, labels) <= 20
    ranked = np.where(labels == 1, 1e-3, -1e-3)
    assert 0.05 <= fit_temperature(ranked, labels) < 0.051


def test_uncertain_labels_are_no_class_of_their_own():
    z = np.array([3.0, -3.0, 1.0])
    assert not has_both_classes(np.array([1.0, 0.5, np.nan]))
    assert not has_both_classes(np.array([0.0, 0.5]))
    assert has_both_classes(np.array([np.nan, 0.0, 1.0]))
    assert fit_temperature(z, np.array([1.0, 0.5, 0.5])) == 1
    assert compute_youden_threshold(np.array([0.2, 0.9]), np.array([0.5, 1.0])) == 0.5


def test_youden_takes_the_highest_of_equal_thresholds_midway_between_scores():
    p, y = np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.0, 1, 0, 1])
    assert compute_youden_threshold(p, y) == pytest.approx(0.7)
    assert compute_youden_threshold(p, np.array([0.0, 0, 1, 1])) == pytest.approx(0.5)
    assert compute_youden_threshold(p, np.array([0.0, 1, 1, 1])) == pytest.approx(0.3)
    assert compute_youden_threshold(np.array([0.6, 0.6]), np.array([0.0, 1])) == pytest.approx(0.3)


def test_a_label_ranked_the_wrong_way_is_called_no_worse_than_at_random():
    """Scores 0.8 0.6 0.4 0.2 of 0 1 0 1: between 0.8 and 0.6 only the wrong image is called."""
    assert compute_youden_threshold(np.array([0.8, 0.6, 0.4, 0.2]), np.array([0.0, 1, 0, 1])) == pytest.approx(0.5)
    assert compute_youden_threshold(np.array([0.8, 0.2]), np.array([0.0, 1])) == pytest.approx(0.1)
