"""Predicted probability against observed share."""

from types import SimpleNamespace

import numpy as np
import pytest

from medprior.evaluate.report.reliability_figure import compute_bin_intervals, plot_reliability
from medprior.metrics.bootstrap import Resamples


@pytest.fixture
def study():
    return SimpleNamespace(draws=Resamples.draw([str(number) for number in range(8)], 4, 0))


def test_only_filled_bins_have_an_interval(study):
    """Four negatives at 0.05 (bin 0), two positives at 0.32 and 0.38 (bin 3), one at 1 (bin 9); one unknown."""
    truth = np.array([0, 0, 0, 0, 1, 1, 1, np.nan])
    score = np.array([0.05, 0.05, 0.05, 0.05, 0.32, 0.38, 1.0, 0.7])
    low, high, means = compute_bin_intervals(truth, score, study)
    np.testing.assert_allclose(means, [0.05, 0.35, 1.0])
    # Wilson: of none in n the upper bound is z2 / (n + z2), of all the lower one n / (n + z2).
    z2 = 1.959964**2
    np.testing.assert_allclose(low, [0, 2 / (2 + z2), 1 / (1 + z2)], rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(high, [z2 / (4 + z2), 1, 1], rtol=1e-5)


def test_five_labels_are_two_rows_of_panels(study, tmp_path, saved_figures):
    truth = np.array([[0.0] * 5, [1.0] * 5] * 4)
    score = np.linspace(0, 1, 40).reshape(8, 5)
    plot_reliability(tmp_path / "r.png", list("abcde"), truth, {"m": score, "n": score[::-1]}, study)
    (figure,) = saved_figures
    assert [axis.get_title() for axis in figure.axes if axis.get_visible()] == list("abcde")
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 4)
    assert figure.get_size_inches().tolist() == pytest.approx([2.1 * 4 + 0.3, 2.1 * 2 + 0.6])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["m", "n"]


def test_a_line_joins_predicted_and_observed_shares_of_filled_bins(study, tmp_path, saved_figures):
    """Four scores of 0.05 and four of 0.95 of which three are positive; the bars are of the first model alone."""
    truth = np.array([[0.0]] * 4 + [[1.0]] * 3 + [[0.0]])
    score = np.array([[0.05]] * 4 + [[0.95]] * 4)
    plot_reliability(tmp_path / "r.png", ["a"], truth, {"m": score, "n": np.full((8, 1), 0.5)}, study)
    (axis,) = saved_figures[0].axes
    diagonal, first, second = (line.get_xydata() for line in axis.lines)
    np.testing.assert_array_equal(diagonal, [[0, 0], [1, 1]])
    np.testing.assert_allclose(first, [[0.05, 0], [0.95, 0.75]])
    np.testing.assert_allclose(second, [[0.5, 3 / 8]])
    bars = np.array(axis.collections[0].get_segments())
    np.testing.assert_allclose(bars[:, :, 0], [[0.05, 0.05], [0.95, 0.95]])
    low, high, _ = compute_bin_intervals(truth[:, 0], score[:, 0], study)
    np.testing.assert_allclose(bars[:, :, 1], np.transpose([low, high]))
