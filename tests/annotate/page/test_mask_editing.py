"""Brush, eraser, smoothing and tracing, against masks made by hand."""

import numpy as np
import pytest
from pydantic import ValidationError

from medprior.annotate.page.mask_editing import ContourEdit, paint_stroke, smooth_mask, trace_contours
from medprior.annotate.polygons import fill_polygons, parse_ring
from medprior.errors import MedpriorError
from medprior.metrics.overlap import compute_dice
from medprior.phantom import render_phantom

SIZE = (400, 300)
BOX = ((100.0, 100.0), (200.0, 100.0), (200.0, 300.0), (100.0, 300.0))


def fill(contours, size=SIZE):
    """The mask of contours."""
    return fill_polygons([parse_ring(contour, "contour") for contour in contours], size)


def distances(size, ends):
    """Distance of each pixel centre from the line between two points."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    (x0, y0), (x1, y1) = ends
    length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
    share = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
    return np.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0))


@pytest.mark.parametrize("ends", [((60, 80), (220, 310)), ((150, 150), (150, 150))])
def test_a_stroke_covers_what_lies_within_its_radius(ends):
    mask = np.zeros(SIZE, dtype=bool)
    paint_stroke(mask, np.array(ends, dtype=float), 20, True)
    assert compute_dice(mask, distances(SIZE, ends) <= 20) > 0.97  # half a pixel
    paint_stroke(mask, np.array(ends, dtype=float), 22, False)
    assert not mask.any()


@pytest.mark.parametrize(("kind", "sign"), [("brush", 1), ("eraser", -1)])
def test_brush_and_eraser_change_contours_by_the_stroke(kind, sign):
    ends = ((200.0, 150.0), (200.0, 250.0))
    edit = ContourEdit(kind=kind, size=SIZE, contours=(BOX,), stroke=ends, radius=25)
    box, stroke = fill([BOX]), distances(SIZE, ends) <= 25
    want = box | stroke if sign > 0 else box & ~stroke
    contours = edit.apply()
    assert len(contours) == 1
    assert compute_dice(fill(contours), want) > 0.98


def test_a_brush_starts_a_structure_and_an_eraser_ends_it():
    edit = ContourEdit(kind="brush", size=SIZE, stroke=((150.0, 200.0),), radius=30)
    (disc,) = edit.apply()
    assert compute_dice(fill([disc]), distances(SIZE, ((150, 200), (150, 200))) <= 30) > 0.97
    wipe = ContourEdit(kind="eraser", size=SIZE, contours=(tuple(disc),), stroke=((150.0, 200.0),), radius=40)
    assert wipe.apply() == []


def test_an_eraser_cuts_a_structure_in_two_parts_the_larger_first():
    cut = ContourEdit(kind="eraser", size=SIZE, contours=(BOX,), stroke=((50.0, 250.0), (250.0, 250.0)), radius=8)
    upper, lower = cut.apply()
    assert fill([upper]).sum() > 3 * fill([lower]).sum() > 0


def test_smoothing_removes_a_spike_and_keeps_the_rest():
    spiky = (*BOX[:2], (200.0, 195.0), (290.0, 200.0), (200.0, 205.0), *BOX[2:])
    (smooth,) = ContourEdit(kind="smooth", size=SIZE, contours=(spiky,), radius=12).apply()
    assert fill([spiky])[200, 260]
    assert not fill([smooth])[200, 230:].any()
    assert compute_dice(fill([smooth]), fill([BOX])) > 0.97
    assert (smooth_mask(np.ones((20, 30), dtype=bool), 3).shape) == (20, 30)


def test_coordinates_are_those_of_the_image_however_large_it_is():
    size = (4000, 3000)
    box = tuple((10 * x, 10 * y) for x, y in BOX)
    (contour,) = ContourEdit(kind="smooth", size=size, contours=(box,), radius=5).apply()
    low, high = np.min(contour, axis=0), np.max(contour, axis=0)
    np.testing.assert_allclose([*low, *high], [1000, 1000, 2000, 3000], atol=12)


@pytest.mark.parametrize("name", ["left_lung", "right_lung", "heart"])
def test_a_traced_organ_has_few_points_and_keeps_its_shape(name):
    mask = render_phantom(3, size=512).masks[name]
    contours = trace_contours(mask, (1024, 1024))
    assert compute_dice(fill(np.array(contours[0])[None] / 2, (512, 512)), mask) > 0.97
    assert len(contours[0]) <= 45


def test_specks_and_holes_are_left_out():
    mask = np.zeros(SIZE, dtype=bool)
    mask[100:300, 100:200] = True
    mask[180:200, 140:160] = False
    mask[5:10, 5:10] = True
    (contour,) = trace_contours(mask, SIZE)
    assert compute_dice(fill([contour]), fill([BOX])) > 0.99
    assert trace_contours(np.zeros(SIZE, dtype=bool), SIZE) == []


def test_what_is_no_edit_is_refused():
    with pytest.raises(ValidationError):
        ContourEdit(kind="paint", size=SIZE, radius=3)
    for size in ((0, 10), (10, 2**20)):
        with pytest.raises(ValidationError):
            ContourEdit(kind="brush", size=size, radius=3)
    with pytest.raises(ValidationError):
        ContourEdit(kind="brush", size=SIZE, radius=float("nan"))
    with pytest.raises(MedpriorError, match="closed contour"):
        ContourEdit(kind="smooth", size=SIZE, contours=(((1.0, 1.0), (2.0, 2.0)),), radius=3).apply()
