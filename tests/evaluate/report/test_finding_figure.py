"""The image that is shown of a finding, and the rows of the hit rates."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.text import Text

from medprior.evaluate.report.finding_figure import MAP_TITLES, find_median_row, plot_finding_figures, plot_hit_rates
from medprior.evaluate.study import Section, exact_estimate


def test_the_median_is_of_the_known_rows():
    assert find_median_row(np.array([np.nan, 0.9, 0.1, 0.5])) == 3
    assert find_median_row(np.array([0.4, np.nan, 0.8])) == 2
    assert find_median_row(np.array([0.3, 0.3, 0.3])) == 1


def test_without_a_map_there_is_no_figure(tmp_path):
    assert plot_finding_figures(tmp_path, Section(extra={"maps": {}}), None) == []


def test_hit_rates_have_a_row_per_map_and_prior(tmp_path, saved_figures):
    scorer = SimpleNamespace(findings=["spot"], settings=SimpleNamespace(pointing_tolerance=0.03))
    values = {"prior_wide.pointing.spot": 0.2, "prior_wide.pointing.mean": 0.3, "head.pointing.spot": 0.9}
    estimates = {f"localisation.{key}": exact_estimate(value, 9) for key, value in values.items()}
    plot_hit_rates(tmp_path / "h.png", Section(estimates=estimates, extra={"scorer": scorer}))
    (axis,) = saved_figures[0].axes
    points = [float(line.get_xdata()[0]) for line in axis.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert sorted(points) == [0.2, 0.3, 0.9]
    legend = [text.get_text() for text in saved_figures[0].findobj(Text)]
    assert "prior wide" in legend


def test_hit_rates_tell_the_tolerance_and_need_a_number(tmp_path):
    scorer = SimpleNamespace(findings=["spot"], settings=SimpleNamespace(pointing_tolerance=0.03))
    estimates = {"localisation.head.iou.spot": exact_estimate(0.5, 9)}
    section = Section(estimates=estimates, extra={"scorer": scorer})
    assert plot_hit_rates(tmp_path / "h.png", section) is None
    estimates["localisation.uniform.pointing.spot"] = exact_estimate(0.5, 9)
    figure = plot_hit_rates(tmp_path / "h.png", section)
    assert "within 3% of the side" in figure.caption
    assert figure.path.is_file()


@pytest.mark.parametrize("name", ["pooled", "plain"])
def test_each_finding_has_a_row_of_its_maps(planted_figures, planted_evidence, name):
    metrics = json.loads((planted_evidence / "metrics.json").read_text())
    prefix = "localisation." if name == "pooled" else f"baseline.{name}.localisation."
    kinds = [kind for kind in MAP_TITLES if any(key.startswith(f"{prefix}{kind}.pointing.") for key in metrics)]
    saved = planted_figures[f"localisation_{name}"]
    grid = saved.axes[0].get_subplotspec().get_gridspec().get_geometry()
    axes = np.array(saved.axes).reshape(grid)
    assert [axis.get_title() for axis in axes[0]] == ["radiograph", *(MAP_TITLES[kind] for kind in kinds)]
    assert saved.get_size_inches().tolist() == pytest.approx([1.5 * grid[1] + 0.4, 1.75 * grid[0] + 0.5])
    for line in axes:
        finding = line[0].get_ylabel().replace(" ", "_")
        assert f"{prefix}{kinds[0]}.pointing.{finding}" in metrics
        assert [len(axis.images) for axis in line] == [1] + [2] * len(kinds)
        assert all(axis.get_xlabel().endswith("% inside") for axis in line[1:])
        assert all(axis.collections for axis in line)  # the contour of the finding


def test_hit_rates_are_those_of_the_metrics(planted_figures, planted_evidence):
    metrics = json.loads((planted_evidence / "metrics.json").read_text())
    (axis,) = planted_figures["localisation"].axes
    lines = [line for line in axis.lines if line.get_marker() == "o" and len(line.get_xdata())]
    measured = [
        record["value"]
        for key, record in metrics.items()
        if key.startswith("localisation.") and ".pointing." in key and record["value"] is not None
    ]
    assert sorted(float(line.get_xdata()[0]) for line in lines) == sorted(measured)
