"""Label maps in PNG and TIFF."""

import numpy as np
import pytest
import tifffile
from PIL import Image

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
