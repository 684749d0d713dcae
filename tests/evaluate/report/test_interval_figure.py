"""Dots with whiskers, of few sources in colours and of many in named rows."""

from PIL import Image

from medprior.evaluate.report.interval_figure import plot_intervals
from medprior.evaluate.report.style import PALETTE


def drawn(path, sources):
    record = {"value": 0.5, "ci95": [0.4, 0.6]}
    rows = {f"arm {number}": record for number in range(sources)}
    groups = [("heart", rows), ("left_lung", rows), ("empty", {"x": {"value": None}})]
    assert plot_intervals(path, "title", "pixel-AP", groups, "caption") is not None
    with Image.open(path) as picture:
        return picture.size


def test_many_sources_get_a_panel_for_each_group(tmp_path):
    """Colours would repeat; rows side by side keep the figure on one page."""
    few = drawn(tmp_path / "few.png", len(PALETTE))
    many = drawn(tmp_path / "many.png", 20)
    assert many[1] / 20 < few[1] / len(PALETTE)


def test_nothing_measured_is_no_figure(tmp_path):
    rows = {"arm": {"value": None, "ci95": [None, None]}}
    assert plot_intervals(tmp_path / "none.png", "t", "AP", [("heart", rows)], "c") is None
    assert not (tmp_path / "none.png").exists()
