"""Curves over budgets of labels."""

import pytest
from matplotlib.figure import Figure
from PIL import Image

from medprior.evaluate.compare.low_data_figure import list_low_data_panels, plot_arm_line, plot_low_data
from tests.evaluate.records import record


@pytest.fixture
def metrics():
    return {
        "low_data.100pct.linear_mauc": record(0.9, 0.8, 1.0),
        "low_data.10pct.linear_mauc": record(0.7, 0.6, 0.8),
        "low_data.1pct.linear_mauc": record(None),
        "low_data.10pct.random_linear_mauc": record(0.5, None, None),
        "baseline.other.low_data.10pct.linear_mauc": record(0.6, 0.5, 0.7),
        "low_data.100pct.finetuned_dice": record(0.9, 0.8, 1.0),
        "low_data.masks_5.finetuned_dice": record(0.7, 0.6, 0.8),
        "low_data.masks_20.finetuned_dice": record(0.8, 0.7, 0.9),
    }


def test_a_panel_needs_two_budgets_of_its_axis(metrics):
    assert list_low_data_panels(metrics) == [
        ("linear_mauc", "labelled patients (%)", ["1pct", "10pct", "100pct"]),
        ("finetuned_dice", "masks", ["masks_5", "masks_20"]),
    ]


def test_a_line_has_the_measured_budgets_of_its_arm(metrics):
    panel = list_low_data_panels(metrics)[0]
    axis = Figure().subplots()
    line = plot_arm_line(axis, metrics, panel, "", "first", 0)
    assert line.get_xydata().tolist() == [[10, 0.7], [100, 0.9]]
    other = plot_arm_line(axis, metrics, panel, "baseline.other.", "other", 1)
    assert other.get_xydata().tolist() == [[10, 0.6]]
    random = plot_arm_line(axis, metrics, panel, "", "random weights", 2)
    assert random.get_xydata().tolist() == [[10, 0.5]]
    assert plot_arm_line(axis, metrics, panel, "baseline.none.", "none", 3) is None
    (band, *_) = axis.collections
    assert band.get_datalim(axis.transData).get_points().tolist() == [[10, 0.6], [100, 1.0]]


def test_without_two_budgets_there_is_no_figure(tmp_path, metrics):
    path = tmp_path / "low.png"
    assert plot_low_data(path, {"low_data.100pct.linear_mauc": record(0.9)}, ["first"]) is None
    assert not path.exists()
    plot_low_data(path, metrics, ["first", "other"])
    with Image.open(path) as picture:
        assert picture.size[0] == 2 * 2.7 * 150
