"""Annotation folders: written, read back, refused when changed."""

import json

import numpy as np
import pytest
from PIL import Image

from medprior.annotate import Annotation
from medprior.errors import InputMissing
from medprior.provenance import write_config
from tests.annotate.drawings import disc, lungs, picture


def test_what_is_saved_is_loaded(tmp_path):
    annotation = Annotation(
        picture(), lungs() | {"heart": disc(0.55, 0.65, 0.12)}, image_id="a", pixel_sha256="f" * 64,
        spacing_mm=(0.2, 0.2), author="someone", notes="ünïcode",
    )  # fmt: skip
    annotation.save(tmp_path / "a")
    back = Annotation.load(tmp_path / "a")
    np.testing.assert_allclose(back.image, annotation.image, atol=1 / 65535)
    assert back.structures == ("heart", "left_lung", "right_lung")
    for name in back.structures:
        np.testing.assert_array_equal(back.masks[name], annotation.masks[name])
    assert (back.image_id, back.spacing_mm, back.author, back.notes, back.warnings) == (
        "a", (0.2, 0.2), "someone", "ünïcode", ())  # fmt: skip
    record = json.loads((tmp_path / "a" / "annotation.json").read_text())
    assert record["geometry"] == {"rows": 120, "cols": 90, "spacing_mm": [0.2, 0.2]}
    with Image.open(tmp_path / "a" / "image.png") as image:
        assert image.mode.startswith("I")
    with Image.open(tmp_path / "a" / "preview.png") as image:
        assert np.asarray(image.convert("RGB")).std() > 10


def test_a_mask_changed_by_hand_is_refused(tmp_path):
    Annotation(picture(), lungs()).save(tmp_path)
    Image.fromarray(disc(0.5)).save(tmp_path / "left_lung.png")
    with pytest.raises(InputMissing, match=r"left_lung\.png"):
        Annotation.load(tmp_path)


def test_coverage_is_the_share_of_each_pixel_in_the_order_of_the_names():
    annotation = Annotation(picture(), lungs())
    coverage = annotation.coverage(20)
    assert coverage.shape == (2, 20, 20)
    np.testing.assert_allclose(
        coverage.mean(axis=(1, 2)), [annotation.masks[name].mean() for name in annotation.structures], atol=1e-6
    )
    assert coverage[0, :, 10:].sum() > 0.99 * coverage[0].sum()


def test_grey_levels_are_stored_in_sixteen_bits(tmp_path):
    image = np.zeros((120, 90), np.float32)
    image[0, :5] = [-0.2, 0.25, 0.5, 1.0, 1.7]
    Annotation(image, lungs()).save(tmp_path)
    with Image.open(tmp_path / "image.png") as stored:
        assert np.asarray(stored)[0, :5].tolist() == [0, 16384, 32768, 65535, 65535]
    assert Annotation.load(tmp_path).spacing_mm is None


def test_warnings_of_files_and_masks_stand_once():
    warnings = ("file: odd", "heart: lies above the lung's centre", "file: odd")
    annotation = Annotation(
        np.full((120, 90), 0.5, np.float32), lungs() | {"heart": disc(0.5, 0.1, 0.1)}, warnings=warnings
    )
    assert annotation.warnings == ("file: odd", "heart: lies above the lung's centre")


def test_the_square_is_the_area_average():
    image = np.zeros((120, 90), np.float32)
    image[:60, :45] = 0.8
    np.testing.assert_allclose(Annotation(image, lungs()).square(2), [[0.8, 0], [0, 0]], atol=1e-6)


@pytest.mark.parametrize("structures", ['["../left_lung"]', '["no_such"]', "3"])
def test_a_record_that_names_other_files_is_not_readable(tmp_path, structures):
    Annotation(picture(), lungs()).save(tmp_path / "a")
    record = json.loads((tmp_path / "a" / "annotation.json").read_text())
    (tmp_path / "a" / "annotation.json").write_text(json.dumps(record | {"structures": json.loads(structures)}))
    (tmp_path / "left_lung.png").write_bytes((tmp_path / "a" / "left_lung.png").read_bytes())
    write_config(tmp_path / "a", "annotate", {}, outputs=("annotation.json", "image.png"))
    with pytest.raises(InputMissing, match="not readable"):
        Annotation.load(tmp_path / "a")
