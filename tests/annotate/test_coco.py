"""COCO JSON, its run lengths by pycocotools."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from medprior.annotate.coco import find_image_entry, parse_coco_masks
from medprior.errors import MedpriorError
from tests.annotate.drawings import (
    NUMBERS,
    POLYGONS,
    SHAPE,
    annotate_drawing,
    assert_is_drawing,
    assert_refused,
    masks,
)


def coco(kind):
    annotations = []
    for number, (name, mask) in enumerate(masks().items()):
        if kind == "polygon":
            segmentation = [[value for point in POLYGONS[name] for value in point]]
        elif kind == "compressed":
            segmentation = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
            segmentation = segmentation | {"counts": segmentation["counts"].decode()}
        else:
            flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
            edges = np.flatnonzero(np.diff(flat))
            segmentation = {"size": list(SHAPE), "counts": np.diff([0, *edges]).tolist()}
        annotations.append(
            {"id": number, "image_id": 7, "category_id": NUMBERS[name], "segmentation": segmentation,
             "iscrowd": int(kind != "polygon")}
        )  # fmt: skip
    size = {"height": SHAPE[0], "width": SHAPE[1]}
    return {
        "images": [{"id": 3, "file_name": "other.png", **size},
                   {"id": 7, "file_name": "sub/chest.jpg", **size}],
        "categories": [{"id": value, "name": name} for name, value in NUMBERS.items()],
        "annotations": annotations,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["polygon", "compressed", "runs"])
def test_coco(tmp_path, kind):
    (tmp_path / "coco.json").write_text(json.dumps(coco(kind)))
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "coco.json", {}), 0.99 if kind == "polygon" else 1.0)


def test_coco_without_the_picture(tmp_path):
    record = coco("polygon")
    record["images"][1]["file_name"] = "sub/patient_name.jpg"
    (tmp_path / "coco.json").write_text(json.dumps(record))
    with pytest.raises(MedpriorError, match="expected one image whose file_name"):
        annotate_drawing(tmp_path, tmp_path / "coco.json", {})


def test_images_that_are_no_list_are_refused(tmp_path):
    (tmp_path / "coco.json").write_text('{"images": 3, "annotations": []}')
    assert_refused(tmp_path, tmp_path / "coco.json", "not a COCO file", {})


def small_record(annotations, images=None):
    """A COCO file of one 4 x 6 picture."""
    images = images or [{"id": 1, "file_name": "a.png", "height": 4, "width": 6}]
    return {"images": images, "categories": [{"id": 5, "name": "heart"}], "annotations": annotations}


def box(x, y, width, height, **more):
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {"image_id": 1, "category_id": 5, "segmentation": [corners], **more}


def test_shapes_of_one_category_and_image_unite():
    parts = [box(0, 0, 2, 1), box(4, 3, 1, 1), box(0, 0, 6, 4, image_id=2), box(1, 1, 1, 1, category_id=9)]
    masks = parse_coco_masks(small_record([*parts, box(0, 0, 6, 4, segmentation=[])]), "a.png", "file").masks
    assert np.argwhere(masks["heart"]).tolist() == [[0, 0], [0, 1], [3, 4]]
    assert np.argwhere(masks["9"]).tolist() == [[1, 1]]
    assert set(masks) == {"heart", "9"}


def test_a_single_image_needs_no_name_and_several_are_told_by_their_stem():
    images = [{"file_name": name, "height": 4, "width": 6} for name in ("x/a.png", "C:\\scans\\b.jpg")]
    assert find_image_entry(images[:1], "other.dcm", "file") is images[0]
    assert find_image_entry(images, "b.dcm", "file") is images[1]
    with pytest.raises(MedpriorError, match="found 2 images"):
        find_image_entry([images[0], {**images[1], "file_name": "a.jpg"}], "a.dcm", "file")
    with pytest.raises(MedpriorError, match="found 0 images"):
        find_image_entry([], "a.dcm", "file")


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (box(0, 0, 1, 1, segmentation=[]), "nothing is drawn"),
        (box(0, 0, 1, 1, segmentation=[[0, 0, 1, 0, 1]]), "not a COCO file"),
        (box(0, 0, 1, 1, segmentation={"size": [6, 4], "counts": [24]}), "expected 4 x 6, found 6 x 4"),
        (box(0, 0, 1, 1, segmentation={"size": [4, 6], "counts": [23]}), "damaged"),
    ],
)
def test_a_shape_that_cannot_be_used_is_refused(part, words):
    with pytest.raises(MedpriorError, match=words):
        parse_coco_masks(small_record([part]), "a.png", "file")


def test_an_image_without_area_is_refused():
    images = [{"id": 1, "file_name": "a.png", "height": 0, "width": 6}]
    with pytest.raises(MedpriorError, match="not a COCO file"):
        parse_coco_masks(small_record([box(0, 0, 1, 1)], images), "a.png", "file")


@pytest.mark.parametrize(
    ("image_id", "category_id", "of_image", "of_category"),
    [("1", "5", 1, 5), (1, 5, "1", "5"), ("a.png", "heart", "a.png", "heart"), (1, 5, 1.0, " 5 ")],
)
def test_ids_are_numbers_or_texts(image_id, category_id, of_image, of_category):
    record = small_record([box(0, 0, 2, 1, image_id=of_image, category_id=of_category)])
    record["images"][0]["id"], record["categories"][0]["id"] = image_id, category_id
    masks = parse_coco_masks(record, "a.png", "file").masks
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {"heart": 2}


@pytest.mark.parametrize("wrong", [None, True, [1]])
def test_ids_of_other_types_are_refused(wrong):
    with pytest.raises(MedpriorError, match="not a COCO file"):
        parse_coco_masks(small_record([box(0, 0, 2, 1, image_id=wrong)]), "a.png", "file")
