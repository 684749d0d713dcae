"""Masks of pictures with oblong pixels follow the resampling, turned as the picture was."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medprior.dicom import Policy
from medprior.dicom.decoding.samples import create_sample_dataset, serialise_dataset
from medprior.ingest.decoding import DecodedImage, decode_source
from medprior.ingest.descriptor import MaskRule
from medprior.ingest.plan import ImageSource, MaskFile
from medprior.metrics.overlap import compute_dice
from tests.corpus.case import Array
from tests.ellipses import fill_ellipse

RULE = MaskRule(match="^(?P<id>.*)$", structure="heart")
# An ellipse in millimetres: centre and half axes, from the top left corner.
CENTRE, AXES = (30.0, 22.0), (14.0, 9.0)
SPACINGS = {"square": (0.5, 0.5), "tall": (0.5, 0.25), "wide": (0.25, 0.5), "a_little": (0.5, 0.48)}


def cover_pixels(rows: int, cols: int, spacing: tuple[float, float]) -> Array:
    """Bool [rows, cols]: inside the ellipse."""
    centre, radii = (tuple(np.divide(values, spacing)) for values in (CENTRE, AXES))
    return fill_ellipse((rows, cols), centre, radii)


def drawn(folder, spacing, store_size=512, mask_spacing=None, **elements) -> DecodedImage:
    """A picture that is its own mask, read with the mask: 64 x 56 mm."""
    rows, cols = round(64 / spacing[0]), round(56 / spacing[1])
    inside = cover_pixels(rows, cols, spacing)
    stored = np.where(inside, 3000, 500).astype("u2")
    dataset = create_sample_dataset(stored, PixelSpacing=[str(x) for x in spacing], **elements)
    (folder / "a.dcm").write_bytes(serialise_dataset(dataset))
    grid = mask_spacing or spacing
    mask = cover_pixels(round(64 / grid[0]), round(56 / grid[1]), grid)
    Image.fromarray(mask.astype("u1") * 255).save(folder / "m.png")
    source = ImageSource(str(folder / "a.dcm"), "a.dcm", "a", None, ())
    found = replace(source, masks=(MaskFile(str(folder / "m.png"), "heart", RULE),))
    item = decode_source(found, Policy(), store_size)
    assert isinstance(item, DecodedImage), item
    return item


@pytest.mark.parametrize("size", [512, 100])
@pytest.mark.parametrize("turn", [None, ["R", "F"], ["R", "H"]])
@pytest.mark.parametrize("name", SPACINGS)
def test_the_mask_lies_on_the_picture(tmp_path, name, turn, size):
    spacing = SPACINGS[name]
    item = drawn(tmp_path, spacing, size, **({"PatientOrientation": turn} if turn else {}))
    assert "mask_unusable" not in item.metadata.flags
    mask = item.masks["heart"]
    assert mask.shape == item.stored.shape
    assert compute_dice(mask, item.stored > 65535 / 2) > 0.98
    # And where it must be in millimetres, by a twin that knows nothing of resampling.
    side = 64 / mask.shape[0]
    expected = cover_pixels(*mask.shape, (side, side))
    if turn:
        expected = expected[:, ::-1]
    if turn == ["R", "H"]:
        expected = expected[::-1]
    assert compute_dice(mask, expected) > 0.97


def test_a_mask_on_square_pixels_fits_an_oblong_picture(tmp_path):
    item = drawn(tmp_path, (0.5, 0.25), mask_spacing=(0.25, 0.25))
    assert compute_dice(item.masks["heart"], item.stored > 65535 / 2) > 0.98


def test_a_mask_of_another_picture_is_passed_over(tmp_path):
    item = drawn(tmp_path, (0.5, 0.5), mask_spacing=(0.5, 0.25))
    assert item.masks == {}
    assert "mask_unusable" in item.metadata.flags
