"""Dots with whiskers, of few sources in colours and of many in named rows."""

import pytest
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


RECORDS = {
    "ours": {"value": 0.5, "ci95": [0.4, 0.6]},
    "other": {"value": 0.7, "ci95": [None, None]},
    "unknown": {"value": None, "ci95": [None, None]},
}


def list_lines(axis):
    """(x, y, colour, marker) of every line that is drawn, without the handles of the legend."""
    return [
        (list(line.get_xdata()), list(line.get_ydata()), line.get_color(), line.get_marker())
        for line in axis.lines
        if len(line.get_xdata())
    ]


def test_dots_and_whiskers_of_each_group_stand_below_each_other(tmp_path, saved_figures):
    groups = [("left_lung", RECORDS), ("heart", {"other": RECORDS["ours"]}), ("none", {"x": RECORDS["unknown"]})]
    figure = plot_intervals(tmp_path / "i.png", "title", "pixel-AP", groups, "caption")
    assert (figure.title, figure.caption) == ("title", "caption")
    (saved,) = saved_figures
    (axis,) = saved.axes
    first, second = PALETTE[:2]
    assert list_lines(axis) == [
        ([0.4, 0.6], [0, 0], first, "None"), ([0.5], [0], first, "o"), ([0.7], [-1], second, "o"),
        ([0.4, 0.6], [-3, -3], second, "None"), ([0.5], [-3], second, "o"),
    ]  # fmt: skip
    assert axis.get_yticks().tolist() == [-0.5, -3]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["left lung", "heart"]
    assert (axis.get_xlim(), axis.get_ylim()) == ((-0.02, 1.02), (-4.5, 1))
    assert axis.get_xlabel() == "pixel-AP"
    assert [text.get_text() for text in saved.legends[0].get_texts()] == ["ours", "other"]
    assert saved.get_size_inches().tolist() == [5.6, pytest.approx(0.22 * 5 + 0.9)]


def test_panels_have_a_named_row_for_each_source_and_the_first_one_stands_out(tmp_path, saved_figures):
    many = {f"arm {number}": RECORDS["ours"] for number in range(len(PALETTE) + 1)}
    groups = [("left_lung", many), ("heart", {"arm 1": RECORDS["ours"]})]
    plot_intervals(tmp_path / "i.png", "title", "pixel-AP", groups, "caption")
    (saved,) = saved_figures
    left, heart = saved.axes
    assert [axis.get_title() for axis in saved.axes] == ["left lung", "heart"]
    rows = range(0, -len(many), -1)
    dots = [(y[0], colour) for _, y, colour, marker in list_lines(left) if marker == "o"]
    assert dots == [(row, PALETTE[0] if row else PALETTE[1]) for row in rows]
    assert list_lines(heart) == [
        ([0.4, 0.6], [-1, -1], PALETTE[0], "None"), ([0.5], [-1], PALETTE[0], "o"),
    ]  # fmt: skip
    assert left.get_yticks().tolist() == list(rows)
    assert [label.get_text() for label in left.get_yticklabels()] == list(many)
    assert {label.get_text() for label in heart.get_yticklabels()} == {""}
    assert left.get_ylim() == heart.get_ylim() == (0.6 - len(many), 0.6)
    assert saved.get_size_inches().tolist() == pytest.approx([1.6 + 1.5 * 2, 0.2 * len(many) + 0.8])


def test_nothing_measured_is_no_figure(tmp_path):
    rows = {"arm": {"value": None, "ci95": [None, None]}}
    assert plot_intervals(tmp_path / "none.png", "t", "AP", [("heart", rows)], "c") is None
    assert not (tmp_path / "none.png").exists()
