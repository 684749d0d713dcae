"""Curves by hand, with ties and weights."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from medprior.evaluate.report.roc_pr_figures import (
    compute_curve_band,
    compute_weighted_curve,
    plot_roc_pr_curves,
)
from medprior.metrics.bootstrap import Resamples

TRUTH = np.array([1.0, 0.0, 1.0, 0.0])
SCORE = np.array([0.9, 0.8, 0.7, 0.1])
ONES = np.ones(4)


def test_sensitivity_at_each_false_positive_rate():
    """Points (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)."""
    curve = compute_weighted_curve(TRUTH, SCORE, ONES, "roc")
    np.testing.assert_allclose(curve[[0, 25, 49, 51, 100]], [0.5, 0.5, 0.5, 1, 1])


def test_precision_at_each_sensitivity_is_a_step():
    """The first half of the positives at precision 1, the second at 2 / 3."""
    curve = compute_weighted_curve(TRUTH, SCORE, ONES, "pr")
    np.testing.assert_allclose(curve[[0, 50, 51, 100]], [1, 1, 2 / 3, 2 / 3])


def test_equal_scores_are_one_point():
    truth, score = np.array([1.0, 0.0, 1.0, 0.0]), np.full(4, 0.5)
    np.testing.assert_allclose(compute_weighted_curve(truth, score, ONES, "roc"), np.linspace(0, 1, 101), atol=1e-12)
    np.testing.assert_allclose(compute_weighted_curve(truth, score, ONES, "pr"), 0.5)


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_a_weight_is_a_repetition(kind):
    weight = np.array([2.0, 1.0, 0.0, 3.0])
    repeated = np.repeat(np.arange(4), weight.astype(int))
    expected = compute_weighted_curve(TRUTH[repeated], SCORE[repeated], np.ones(6), kind)
    np.testing.assert_allclose(compute_weighted_curve(TRUTH, SCORE, weight, kind), expected)


def test_areas_are_those_of_sklearn():
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=400).astype(float)
    score = np.round(truth + rng.normal(size=400), 1)
    roc, pr = (compute_weighted_curve(truth, score, np.ones(400), kind) for kind in ("roc", "pr"))
    assert np.trapezoid(roc, dx=0.01) == pytest.approx(roc_auc_score(truth, score), abs=2e-3)
    assert pr[1:].mean() == pytest.approx(average_precision_score(truth, score), abs=5e-3)


def test_one_class_has_no_curve():
    assert np.isnan(compute_weighted_curve(np.ones(4), SCORE, ONES, "roc")).all()
    assert np.isnan(compute_weighted_curve(np.zeros(4), SCORE, ONES, "pr")).all()


def test_a_band_is_of_known_images_and_holds_the_curve():
    truth, score = np.append(np.tile(TRUTH, 10), np.nan), np.append(np.tile(SCORE, 10), 2.0)
    draws = Resamples.draw([str(number) for number in range(41)], 50, 0)
    _, curve, low, high = compute_curve_band(truth, score, draws, "roc")
    np.testing.assert_array_equal(curve, compute_weighted_curve(truth[:40], score[:40], np.ones(40), "roc"))
    assert (low <= curve + 1e-9).all()
    assert (high >= curve - 1e-9).all()
    assert low[25] < high[25]
    _, _, low, high = compute_curve_band(np.ones(41), score, draws, "roc")
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_a_label_without_a_known_image_is_drawn_empty(tmp_path, saved_figures):
    truth = np.stack([TRUTH, np.full(4, np.nan)], axis=1)
    scores = {"m": np.stack([SCORE, SCORE], axis=1)}
    draws = Resamples.draw(list("abcd"), 5, 0)
    for kind, name in (("roc", "ROC"), ("pr", "Precision-recall")):
        figure = plot_roc_pr_curves(tmp_path / f"{kind}.png", kind, ["a", "b"], truth, scores, draws)
        assert figure.title == f"{name} curves"
        assert figure.path.is_file()
        shown, empty = saved_figures[-1].axes
        assert [shown.get_title(), empty.get_title()] == ["a\n2 of 4", "b\n0 of 0"]
        curve, chance = (line.get_ydata() for line in shown.lines)
        np.testing.assert_array_equal(curve, compute_weighted_curve(TRUTH, SCORE, ONES, kind))
        np.testing.assert_array_equal(chance, [0, 1] if kind == "roc" else [0.5, 0.5])
        assert np.isnan(empty.lines[0].get_ydata()).all()
