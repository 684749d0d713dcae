"""Pictures and contours for the browser."""

import io

import numpy as np
import pytest
from PIL import Image

from medprior.annotate.page.rendering import encode_picture_png, overlay_map_contours, render_picture
from medprior.palette import STRUCTURE_COLOURS


@pytest.mark.parametrize(("longest", "size"), [(40, (20, 40)), (100, (50, 100)), (2048, (50, 100))])
def test_a_picture_is_made_smaller_and_never_larger(longest, size):
    assert render_picture(np.zeros((100, 50), np.float32), longest).size == size


def test_levels_are_rounded_and_clipped():
    image = render_picture(np.array([[-0.5, 0.1, 0.5, 1.0, 1.5]], np.float32), 10)
    assert np.asarray(image).tolist() == [[0, 26, 128, 255, 255]]
    with Image.open(io.BytesIO(encode_picture_png(image))) as png:
        assert (png.format, np.asarray(png).tolist()) == ("PNG", [[0, 26, 128, 255, 255]])


@pytest.mark.parametrize(
    ("rows", "columns", "box"),
    [((1, 3), (1, 3), [10, 30, 20, 60]), ((0, 2), (2, 4), [0, 20, 40, 79])],
)
def test_contours_lie_on_the_unit_square_of_the_picture(rows, columns, box):
    layer = np.zeros((4, 4), np.float32)
    layer[slice(*rows), slice(*columns)] = 1
    image = overlay_map_contours(np.full((40, 80), 0.5, np.float32), {"heart": layer}, 80)
    colour = np.array(list(bytes.fromhex(STRUCTURE_COLOURS["heart"][1:])))
    y, x = np.nonzero((np.asarray(image) == colour).all(axis=2))
    assert [y.min(), y.max(), x.min(), x.max()] == pytest.approx(box, abs=2)


def test_a_map_below_a_half_has_no_contour():
    layer = np.full((4, 4), 0.49, np.float32)
    pixels = np.asarray(overlay_map_contours(np.full((40, 40), 0.5, np.float32), {"heart": layer}, 40))
    assert np.ptp(pixels, axis=2).max() == 0
