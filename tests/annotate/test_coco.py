"""COCO JSON, its run lengths by pycocotools."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_masks

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
