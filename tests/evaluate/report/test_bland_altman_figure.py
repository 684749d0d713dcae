"""Differences over means, with bias and limits."""

import numpy as np

from medprior.evaluate.report.bland_altman_figure import plot_bland_altman
from medprior.metrics.bootstrap import Estimate


def test_only_images_with_both_ratios_are_drawn(tmp_path, saved_figures):
    predicted, truth = np.array([0.5, np.nan, 0.6, 0.4]), np.array([0.4, 0.5, np.nan, 0.5])
    unknown = np.full(4, np.nan)
    estimates = {
        "cardiothoracic.bias": Estimate(0.0, np.linspace(-0.1, 0.1, 9), 2),
        "cardiothoracic.limit_low": Estimate(-0.2, unknown, 2),
        "cardiothoracic.limit_high": Estimate(0.2, unknown, 2),
    }
    figure = plot_bland_altman(tmp_path / "b.png", "seg", predicted, truth, estimates)
    assert figure.path.is_file()
    assert "plot of 2 images" in figure.caption
    assert saved_figures[0].get_size_inches().tolist() == [5.2, 3.6]
    (axis,) = saved_figures[0].axes
    points = np.ma.filled(axis.collections[0].get_offsets(), np.nan)
    np.testing.assert_allclose(points[[0, 3]], [[0.45, 0.1], [0.45, -0.1]])
    assert np.isnan(points[1:3]).all()
    assert [line.get_ydata()[0] for line in axis.lines] == [0, 0.0, -0.2, 0.2]
    assert [line.get_linestyle() for line in axis.lines] == ["-", "-", "--", "--"]
    assert [text.get_text() for text in axis.texts] == ["+0.000", "−0.200", "+0.200"]
    # Limits whose interval is unknown have no band.
    (band,) = axis.patches
    low, high = estimates["cardiothoracic.bias"].interval()
    edges = band.get_path().transformed(band.get_patch_transform()).vertices[:, 1]
    np.testing.assert_allclose([edges.min(), edges.max()], [low, high])
