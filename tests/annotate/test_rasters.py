"""Label maps in PNG and TIFF."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from medprior.annotate.rasters import read_label_levels, split_labels
from medprior.errors import MedpriorError
from tests.annotate.drawings import (
    SHAPE,
    annotate_drawing,
    assert_is_drawing,
    assert_refused,
    label_map,
)


def test_label_map_as_palette_png(tmp_path):
    image = Image.new("P", SHAPE[::-1])
    image.putdata(label_map().ravel().tolist())
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "labels.png")
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "labels.png"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_label_map_by_tifffile(tmp_path, dtype, compression):
    tifffile.imwrite(tmp_path / "labels.tif", label_map(dtype), compression=compression)
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "labels.tif"))


def test_a_colour_picture_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "n.png")
    assert_refused(tmp_path, tmp_path / "n.png", "colour")


def test_several_pages_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "o.tif", np.stack([label_map()] * 3), photometric="minisblack")
    assert_refused(tmp_path, tmp_path / "o.tif", "3 pages")


def test_every_whole_value_above_zero_is_a_label():
    levels = np.array([[-1.0, 0.0, 2.0], [2.0004, 10.0, 0.0]])
    masks = split_labels(levels, "file")
    assert list(masks) == ["2", "10"]
    np.testing.assert_array_equal(masks["2"], [[False, False, True], [True, False, False]])
    np.testing.assert_array_equal(masks["10"], [[False, False, False], [False, True, False]])


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ([[0, 0]], "nothing is drawn"),
        ([[-3, 0]], "nothing is drawn"),
        ([[0, 0.4]], "nothing is drawn"),
        ([[0, 1.01]], "not a label map; .*1 values above 0"),
        ([[1, np.inf]], "not a label map"),
        ([range(66)], "not a label map; .*65 values above 0"),
    ],
)
def test_values_that_number_nothing_are_refused(levels, words):
    with pytest.raises(MedpriorError, match=words):
        split_labels(np.array(levels), "file")


def test_sixty_four_labels_are_the_most():
    assert len(split_labels(np.arange(65)[None], "file")) == 64


@pytest.mark.parametrize(
    ("mode", "values"),
    [("1", [[0, 1]]), ("L", [[0, 200]]), ("I;16", [[0, 300]]), ("RGB", [[0, 7]]), ("LA", [[0, 9]])],
)
def test_grey_pictures_keep_their_levels(mode, values):
    image = Image.new(mode, (2, 1))
    level = values[0][1]
    image.putpixel((1, 0), {"RGB": (level,) * 3, "LA": (level, 255)}.get(mode, level))
    assert read_label_levels(image, "file").tolist() == values


def test_one_coloured_pixel_makes_a_colour_picture():
    image = Image.new("RGB", (3, 2), (5, 5, 5))
    image.putpixel((2, 1), (5, 6, 5))
    with pytest.raises(MedpriorError, match="colour"):
        read_label_levels(image, "file")
