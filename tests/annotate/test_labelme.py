"""LabelMe JSON."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from medprior.annotate.labelme import parse_labelme_masks, parse_two_points
from medprior.errors import MedpriorError
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


def masks_of(*shapes):
    record = {"imageHeight": 8, "imageWidth": 10, "shapes": list(shapes)}
    return parse_labelme_masks(record, "file").masks


def box_mask(rows, cols):
    stream = io.BytesIO()
    Image.fromarray(np.ones((rows, cols), bool)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_a_rectangle_is_given_by_any_two_corners():
    mask = masks_of(shape_of(" heart ", [[5, 7], [2, 3]], "rectangle"))["heart"]
    expected = np.zeros((8, 10), bool)
    expected[3:7, 2:5] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_circle_is_given_by_its_centre_and_a_point_of_its_edge():
    mask = masks_of(shape_of("heart", [[5, 4], [5, 1]], "circle"))["heart"]
    y, x = np.mgrid[:8, :10] + 0.5
    distance = np.hypot(x - 5, y - 4)
    assert mask[distance < 2.6].all()
    assert not mask[distance > 3.4].any()


def test_a_mask_lies_at_the_upper_left_of_its_points():
    mask = masks_of(shape_of("heart", [[8, 5], [6, 4]], "mask", mask=box_mask(2, 3)))["heart"]
    assert np.argwhere(mask).tolist() == [[y, x] for y in (4, 5) for x in (6, 7, 8)]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (shape_of("heart", [[8, 5], [9, 6]], "mask", mask=box_mask(2, 3)), "beyond the picture"),
        (shape_of("heart", [[0, 7], [2, 8]], "mask", mask=box_mask(2, 3)), "beyond the picture"),
        (shape_of("heart", [[-1, 0], [1, 1]], "mask", mask=box_mask(2, 3)), "beyond the picture"),
        (shape_of("heart", [[0, 0], [1, 1]], "mask", mask="no base64"), "cannot be decoded"),
        (shape_of("heart", [[0, 0], [1, 1]], "mask", mask=box_mask(2, 2)[:8] + "!" + box_mask(2, 2)[8:]), "decoded"),
        (shape_of("heart", [[0, 0], [1, 1]], "cuboid"), "found cuboid"),
        (shape_of("heart", [[0, 0]], "rectangle"), "cannot be used"),
        (shape_of("", [[0, 0], [1, 0], [1, 1]]), "without a label"),
    ],
)
def test_a_shape_that_cannot_be_used_is_refused(shape, words):
    with pytest.raises(MedpriorError, match=words):
        masks_of(shape)


def test_two_points_are_two_pairs_of_finite_numbers():
    assert parse_two_points([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert all(parse_two_points(p) is None for p in ([[1, 2]], [[1, 2], [3, None]], [[1, 2], [3]], None))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 1, 3, 2), (2, 0, 1, 3)])
def test_a_rectangle_of_four_points_is_that_of_two(order):
    corners = [[30, 80], [60, 80], [60, 90], [30, 90]]
    four = parse_labelme_masks(labelme([shape_of("heart", [corners[i] for i in order], "rectangle")]), "file")
    two = parse_labelme_masks(labelme([shape_of("heart", [[60, 90], [30, 80]], "rectangle")]), "file")
    np.testing.assert_array_equal(four.masks["heart"], two.masks["heart"])
    assert four.masks["heart"].sum() == 300


@pytest.mark.parametrize("kind", ["rectangle", "oriented_rectangle", "rotation"])
def test_a_turned_rectangle_has_its_four_corners(kind):
    corners = [[40, 40], [60, 60], [50, 70], [30, 50]]
    turned = parse_labelme_masks(labelme([shape_of("heart", corners, kind)]), "file").masks["heart"]
    polygon = parse_labelme_masks(labelme([shape_of("heart", corners)]), "file").masks["heart"]
    np.testing.assert_array_equal(turned, polygon)


@pytest.mark.parametrize("points", [[[1, 1]], [[1, 1], [2, 2], [3, 3]], [[1, 1], [2, 2], [3, None], [4, 4]], None])
def test_a_rectangle_without_two_or_four_points_is_refused(points):
    with pytest.raises(MedpriorError, match="file: heart"):
        parse_labelme_masks(labelme([shape_of("heart", points, "rectangle")]), "file")
