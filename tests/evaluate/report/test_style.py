"""What all figures share."""

import pytest
from PIL import Image

from medprior.evaluate.report.style import PALETTE, key_to_words, open_figure, source_colour


def test_colours_begin_again_after_the_last():
    assert source_colour(0) == PALETTE[0]
    assert source_colour(len(PALETTE)) == PALETTE[0]
    assert source_colour(len(PALETTE) + 2) == PALETTE[2]
    assert len(set(PALETTE)) == len(PALETTE)


def test_keys_become_words():
    assert key_to_words("left_lung_base") == "left lung base"


def test_a_figure_has_150_pixels_an_inch_and_rows_before_columns(tmp_path):
    with open_figure(tmp_path / "f.png", 2, 3, 4.0, 2.0) as (_, axes):
        assert axes.shape == (2, 3)
    with Image.open(tmp_path / "f.png") as picture:
        assert picture.size == (600, 300)


def test_a_figure_that_fails_is_not_written(tmp_path):
    with pytest.raises(RuntimeError), open_figure(tmp_path / "f.png", 1, 1, 2.0, 2.0):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
