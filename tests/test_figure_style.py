"""How finished figures are written."""

import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from medprior.figure_style import save_figure, use_figure_style


def draw(title="心"):
    figure = Figure(figsize=(2, 1))
    axes = figure.subplots()
    axes.plot([1, 2, 3], label=title)
    axes.set_title(title)
    return figure


@pytest.mark.parametrize("vector", [True, False])
def test_a_figure_is_a_picture_and_on_request_a_drawing(tmp_path, vector):
    with use_figure_style():
        save_figure(draw(), tmp_path / "one.png", vector)
    assert {path.name for path in tmp_path.iterdir()} == ({"one.png", "one.svg"} if vector else {"one.png"})
    with Image.open(tmp_path / "one.png") as image:
        assert image.size == (300, 150)  # 150 dots per inch
    if vector:
        text = (tmp_path / "one.svg").read_text()
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert "\\u5fc3" in text  # its comment names the escaped title


def test_equal_figures_give_equal_files(tmp_path):
    for name in ("one", "two"):
        with use_figure_style():
            save_figure(draw(), tmp_path / f"{name}.png", vector=True)
    for suffix in ("png", "svg"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_the_style_ends_with_its_block():
    before = mpl.rcParams["axes.spines.top"]
    with use_figure_style():
        assert mpl.rcParams["axes.spines.top"] is False
    assert mpl.rcParams["axes.spines.top"] == before
