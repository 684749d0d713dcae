"""LabelMe JSON."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.annotate.drawings import (
    LEFT,
    RIGHT,
    SHAPE,
    annotate_drawing,
    assert_is_drawing,
    assert_refused,
    masks,
)


def labelme(shapes):
    return {
        "version": "5.5.0", "flags": {}, "imagePath": "chest.png", "imageData": None,
        "imageHeight": SHAPE[0], "imageWidth": SHAPE[1], "shapes": shapes,
    }  # fmt: skip


def shape_of(label, points, kind="polygon", **more):
    return {
        "label": label, "points": points, "group_id": None, "description": "",
        "shape_type": kind, "flags": {}, **more,
    }  # fmt: skip


def test_labelme_polygons(tmp_path):
    record = labelme([shape_of("left lung", LEFT), shape_of("Right Lung", RIGHT)])
    (tmp_path / "chest.json").write_text(json.dumps(record))
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "chest.json", {}), 0.99)


def test_labelme_masks_and_several_shapes_of_one_label(tmp_path):
    mask = masks()["left_lung"]
    rows, cols = np.nonzero(mask)
    part = mask[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
    stream = io.BytesIO()
    Image.fromarray(part).save(stream, "PNG")
    box = [[int(cols.min()), int(rows.min())], [int(cols.max()), int(rows.max())]]
    data = base64.b64encode(stream.getvalue()).decode()
    record = labelme([
        shape_of("left_lung", box, "mask", mask=data),
        shape_of("heart", [[40, 60], [50, 60]], "circle"),
        shape_of("heart", [[30, 80], [60, 90]], "rectangle"),
        shape_of("carina", [[45, 40]], "point"),
    ])  # fmt: skip
    (tmp_path / "chest.json").write_text(json.dumps(record))
    annotation = annotate_drawing(tmp_path, tmp_path / "chest.json", {})
    np.testing.assert_array_equal(annotation.masks["left_lung"], mask)
    assert abs(annotation.masks["heart"].sum() - (300 + np.pi * 100)) < 4
    assert "carina: a point has no area and was left out" in annotation.warnings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"shapes": []}', "imageHeight"),
        (json.dumps(labelme([])), "nothing is drawn"),
        (json.dumps(labelme([shape_of("x", [[1, 2]])])), "three points"),
    ],
)
def test_a_file_without_size_shapes_or_points_is_refused(tmp_path, text, words):
    (tmp_path / "chest.json").write_text(text)
    assert_refused(tmp_path, tmp_path / "chest.json", words, {})
