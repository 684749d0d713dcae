"""Differences over means, with bias and limits."""

import numpy as np

from medprior.evaluate.report.bland_altman_figure import plot_bland_altman
from medprior.metrics.bootstrap import Estimate


def test_only_images_with_both_ratios_are_counted(tmp_path):
    predicted, truth = np.array([0.5, np.nan, 0.6, 0.4]), np.array([0.4, 0.5, np.nan, 0.5])
    unknown = np.full(4, np.nan)
    estimates = {
        "cardiothoracic.bias": Estimate(0.0, np.linspace(-0.1, 0.1, 9), 2),
        "cardiothoracic.limit_low": Estimate(-0.2, unknown, 2),
        "cardiothoracic.limit_high": Estimate(0.2, unknown, 2),
    }
    figure = plot_bland_altman(tmp_path / "b.png", "seg", predicted, truth, estimates)
    assert figure.path.stat().st_size > 5000
    assert "plot of 2 images" in figure.caption
