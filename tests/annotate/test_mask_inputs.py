"""Mask files of one image, one structure or several to a file."""

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from medprior.annotate import annotate_from_files
from tests.annotate.drawings import (
    affine,
    assert_is_drawing,
    assert_refused,
    lungs,
    masks,
    picture,
    picture_at,
)


@pytest.mark.parametrize("ending", ["png", "tiff", "gif"])
def test_mask_formats(tmp_path, ending):
    Image.fromarray((picture() * 255).astype(np.uint8)).save(tmp_path / "image.png")
    for name, mask in lungs().items():
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / f"{name}.{ending}")
    annotation = annotate_from_files(tmp_path / "image.png", {name: tmp_path / f"{name}.{ending}" for name in lungs()})
    for name, mask in lungs().items():
        np.testing.assert_array_equal(annotation.masks[name], mask)
    assert annotation.image_id is None
    assert len(annotation.pixel_sha256) == 64


def test_masks_by_tifffile(tmp_path):
    for name, mask in masks().items():
        tifffile.imwrite(tmp_path / f"{name}.tif", mask.astype(np.uint8) * 255)
    files = {name: tmp_path / f"{name}.tif" for name in masks()}
    assert_is_drawing(annotate_from_files(picture_at(tmp_path / "chest.png"), files))


def test_a_single_structure_of_any_format(tmp_path):
    data = masks()["left_lung"].astype(np.uint8).T[..., None]
    nibabel.save(nibabel.Nifti1Image(data, affine(1, 1)), tmp_path / "clavicle.nii.gz")
    annotation = annotate_from_files(
        picture_at(tmp_path / "chest.png"), {"left_clavicle": tmp_path / "clavicle.nii.gz"}
    )
    np.testing.assert_array_equal(annotation.masks["left_clavicle"], masks()["left_lung"])
    assert any("left_clavicle: not one of" in warning for warning in annotation.warnings)


def test_endless_json_is_neither_labelme_nor_coco(tmp_path):
    (tmp_path / "l.json").write_text("{" * 100000)
    assert_refused(tmp_path, tmp_path / "l.json", "neither LabelMe nor COCO", {})
