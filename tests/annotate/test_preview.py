"""The preview of an annotation."""

import numpy as np
import pytest
from PIL import Image

from medprior.annotate.preview import save_mask_preview
from medprior.palette import STRUCTURE_COLOURS


def has_colour(path, name):
    """Where the preview shows a structure's colour, below the names."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    colour = np.array(list(bytes.fromhex(STRUCTURE_COLOURS[name][1:])))
    near = np.abs(pixels - colour).max(axis=2) < 30
    near[:200] = False
    return near


@pytest.mark.parametrize("factor", [1, 20])
def test_contours_lie_on_the_borders_of_their_masks(tmp_path, factor):
    image = np.full((100 * factor, 50 * factor), 0.4, np.float32)
    mask = np.zeros(image.shape, bool)
    mask[60 * factor : 80 * factor, 30 * factor : 45 * factor] = True
    save_mask_preview(image, {"left_lung": mask, "heart": ~mask & (image > 1)}, tmp_path / "preview.png")
    with Image.open(tmp_path / "preview.png") as preview:
        assert preview.size == (400, 800)
    rows, columns = np.nonzero(has_colour(tmp_path / "preview.png", "left_lung"))
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == pytest.approx([480, 640, 240, 360], abs=4)
    assert not has_colour(tmp_path / "preview.png", "heart").any()


def test_a_mask_without_a_border_is_named_only(tmp_path):
    image = np.full((100, 50), 0.4, np.float32)
    save_mask_preview(image, {"heart": np.ones((100, 50), bool)}, tmp_path / "preview.png")
    assert not has_colour(tmp_path / "preview.png", "heart").any()
