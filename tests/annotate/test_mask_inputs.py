"""Mask files of one image, one structure or several to a file."""

import json

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from medprior.annotate import annotate_from_files
from medprior.annotate.mask_inputs import MaskInputs, read_picture_mask, resolve_input_file
from medprior.errors import InputMissing, MedpriorError
from tests.annotate.drawings import (
    LEFT,
    RIGHT,
    SHAPE,
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


@pytest.mark.parametrize(
    ("levels", "inside"),
    [
        ([0, 127, 128, 255], [False, False, True, True]),
        ([0, 127, 127, 0], [False, True, True, False]),
        ([0, 1, 0, 1], [False, True, False, True]),
        ([0, 0, 0, 0], [False] * 4),
    ],
)
def test_a_picture_is_split_at_half_or_above_zero(tmp_path, levels, inside):
    Image.fromarray(np.tile(np.array(levels, np.uint8), (64, 16))).save(tmp_path / "mask.png")
    mask = read_picture_mask(tmp_path / "mask.png", "--mask heart")
    np.testing.assert_array_equal(mask, np.tile(inside, (64, 16)))


def test_low_levels_of_several_kinds_are_a_label_map(tmp_path):
    Image.fromarray(np.tile(np.array([0, 126, 127, 0], np.uint8), (64, 16))).save(tmp_path / "mask.png")
    with pytest.raises(MedpriorError, match=r"numbers several structures; .*found 2 values"):
        read_picture_mask(tmp_path / "mask.png", "--mask heart")


def test_inputs_are_true_where_a_file_is_named():
    assert not MaskInputs(names={"1": "heart"}, as_stored=True)
    assert MaskInputs(masks={"heart": "x"})
    assert MaskInputs(annotations="x")


def test_a_missing_file_is_told_without_its_path_and_a_link_is_followed(tmp_path):
    with pytest.raises(InputMissing, match="no such file") as caught:
        resolve_input_file(tmp_path / "DOE.png", "--mask heart")
    assert "DOE" not in str(caught.value)
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert resolve_input_file(tmp_path / "link", "x") == (tmp_path / "real").resolve()


def labelme_at(path, **polygons):
    shapes = [{"label": name, "points": points} for name, points in polygons.items()]
    path.write_text(json.dumps({"imageHeight": SHAPE[0], "imageWidth": SHAPE[1], "shapes": shapes}))
    return path


def test_a_structure_is_given_once(tmp_path):
    Image.fromarray(masks()["left_lung"]).save(tmp_path / "left.png")
    file = labelme_at(tmp_path / "a.json", **{"Lung, L": LEFT, "lung right": RIGHT})
    inputs = MaskInputs({"left_lung": tmp_path / "left.png"}, file)
    with pytest.raises(MedpriorError, match="left_lung: given twice"):
        annotate_from_files(picture_at(tmp_path / "chest.png"), inputs)
    renamed = MaskInputs({"left_lung": tmp_path / "left.png"}, file, {"lung left": "other"})
    assert annotate_from_files(tmp_path / "chest.png", renamed).structures == ("left_lung", "other", "right_lung")


def test_one_structure_of_a_file_is_taken_by_its_name_or_where_it_is_alone(tmp_path):
    picture_at(tmp_path / "chest.png")
    both = labelme_at(tmp_path / "both.json", **{"Left Lung": LEFT, "heart": RIGHT})
    annotation = annotate_from_files(tmp_path / "chest.png", {"left_lung": both})
    assert annotation.masks["left_lung"].sum() == pytest.approx(masks()["left_lung"].sum(), rel=0.02)
    with pytest.raises(MedpriorError, match=r"several structures; .*found Left Lung, heart"):
        annotate_from_files(tmp_path / "chest.png", {"right_lung": both})
    alone = labelme_at(tmp_path / "alone.json", anything=RIGHT)
    assert annotate_from_files(tmp_path / "chest.png", {"right_lung": alone}).structures == ("right_lung",)
