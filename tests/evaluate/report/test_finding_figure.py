"""The image that is shown of a finding, and the rows of the hit rates."""

from types import SimpleNamespace

import numpy as np

from medprior.evaluate.report.finding_figure import find_median_row, plot_finding_figures, plot_hit_rates
from medprior.evaluate.study import Section, exact_estimate


def test_the_median_is_of_the_known_rows():
    assert find_median_row(np.array([np.nan, 0.9, 0.1, 0.5])) == 3
    assert find_median_row(np.array([0.4, np.nan, 0.8])) == 2
    assert find_median_row(np.array([0.3, 0.3, 0.3])) == 1


def test_without_a_map_there_is_no_figure(tmp_path):
    assert plot_finding_figures(tmp_path, Section(extra={"maps": {}}), None) == []


def test_hit_rates_tell_the_tolerance_and_need_a_number(tmp_path):
    scorer = SimpleNamespace(findings=["spot"], settings=SimpleNamespace(pointing_tolerance=0.03))
    estimates = {"localisation.head.iou.spot": exact_estimate(0.5, 9)}
    section = Section(estimates=estimates, extra={"scorer": scorer})
    assert plot_hit_rates(tmp_path / "h.png", section) is None
    estimates["localisation.uniform.pointing.spot"] = exact_estimate(0.5, 9)
    figure = plot_hit_rates(tmp_path / "h.png", section)
    assert "within 3% of the side" in figure.caption
    assert figure.path.is_file()
