"""Structures of RT Structure Sets on the pixels of a radiograph."""

import io

import numpy as np
import pydicom
import pytest
from skimage.draw import polygon2mask

from medprior.annotate import annotate_from_files
from medprior.annotate.mask_inputs import MaskInputs
from medprior.errors import MedpriorError
from medprior.ingest.masks import apply_orientation
from tests.annotate.drawings import LEFT, POLYGONS, RIGHT, dice, inside
from tests.annotate.structure_sets import (
    PLACE,
    SQUARE,
    STORED,
    annotate_contours,
    both,
    closed,
    in_patient,
    in_picture,
    structure_set,
)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("turn", [None, ["R", "F"], ["R", "H"]])
def test_a_projection_is_drawn_on_from_its_first_pixel(tmp_path, implicit, turn):
    place = SQUARE | ({"PatientOrientation": turn} if turn else {})
    rois = both(SQUARE["PixelSpacing"])
    if turn:
        # What is drawn on the stored pixels lies on the other side once it is upright.
        rois = [(rois[1][0], rois[0][1]), (rois[0][0], rois[1][1])]
    annotation = annotate_contours(tmp_path, rois, place, implicit=implicit)
    flag = {None: "", "F": "orientation_mirrored", "H": "orientation_rotated"}
    for name, points in POLYGONS.items():
        own = name if not turn else {"left_lung": "right_lung", "right_lung": "left_lung"}[name]
        truth = apply_orientation(inside(points, STORED), flag[turn and turn[1]])
        assert dice(annotation.masks[own], truth) > 0.99
    assert any("first pixel" in words for words in annotation.warnings)


def test_coordinates_in_the_patient_find_their_pixels(tmp_path):
    place = PLACE | {"PixelSpacing": [0.4, 0.4]}
    rois = both(place, in_patient)
    annotation = annotate_contours(tmp_path, rois, place)
    for name, points in POLYGONS.items():
        theirs = polygon2mask(STORED, np.array(points)[:, ::-1] - 0.5)
        assert dice(annotation.masks[name], inside(points, STORED)) > 0.99
        assert dice(annotation.masks[name], theirs) > 0.98
    assert annotation.warnings == ()


def test_oblong_pixels_are_made_square_with_the_picture(tmp_path):
    annotation = annotate_contours(tmp_path, both(PLACE, in_patient), PLACE)
    shown = annotation.image.shape
    assert shown[0] / shown[1] == pytest.approx(120 * 0.5 / (96 * 0.4), rel=0.02)
    for name, points in POLYGONS.items():
        scaled = [(x / STORED[1] * shown[1], y / STORED[0] * shown[0]) for x, y in points]
        assert dice(annotation.masks[name], inside(scaled, shown)) > 0.98


def test_contours_add_up_are_cut_out_or_have_no_area(tmp_path):
    spacing = SQUARE["PixelSpacing"]
    hole = [(60.0, 40.0), (72.0, 40.0), (72.0, 60.0), (60.0, 60.0)]
    left, right, cut = (in_picture(points, spacing) for points in (LEFT, RIGHT, hole))
    contours = [*closed(left), ("CLOSEDPLANAR_XOR", cut, None), ("POINT", left[:1], None)]
    annotation = annotate_contours(tmp_path, [("Left Lung", contours), ("Heart", [*closed(left), *closed(cut)]),
                            ("lungs", [*closed(left), *closed(right)])])  # fmt: skip
    whole, part = inside(LEFT, STORED), inside(hole, STORED)
    assert dice(annotation.masks["left_lung"], whole & ~part) > 0.99
    assert dice(annotation.masks["heart"], whole) > 0.99
    assert dice(annotation.masks["lungs"], whole | inside(RIGHT, STORED)) > 0.99
    assert any("POINT" in words for words in annotation.warnings)
    assert any("Heart: a contour lies inside" in words for words in annotation.warnings)


def test_two_that_are_called_lung_are_told_by_their_sides(tmp_path):
    spacing = SQUARE["PixelSpacing"]
    rois = [("Lung", closed(in_picture(points, spacing))) for points in (LEFT, RIGHT)]
    annotation = annotate_contours(tmp_path, rois)
    assert annotation.structures == ("left_lung", "right_lung")
    assert dice(annotation.masks["left_lung"], inside(LEFT, STORED)) > 0.99
    assert any("without a side" in words for words in annotation.warnings)


def test_contours_of_another_image_are_left_out_or_refused(tmp_path):
    spacing = SQUARE["PixelSpacing"]
    left, right = (in_picture(points, spacing) for points in (LEFT, RIGHT))
    rois = [("Left Lung", [*closed(left), *closed(right, "1.2.3.4.6")])]
    annotation = annotate_contours(tmp_path, rois)
    assert dice(annotation.masks["left_lung"], inside(LEFT, STORED)) > 0.99
    with pytest.raises(MedpriorError, match="another image"):
        annotate_contours(tmp_path, [("Heart", closed(left, "1.2.3.4.6"))], image="1.2.3.4.6")
    placed = PLACE | SQUARE
    heart = [("Heart", closed(in_patient(LEFT, placed), None))]
    with pytest.raises(MedpriorError, match="another image"):
        annotate_contours(tmp_path, heart, placed, frame="1.2.3.98", whole=False)
    assert annotate_contours(tmp_path, heart, placed, whole=False).warnings == ()
    unsure = annotate_contours(tmp_path, [("Heart", closed(left, None))], whole=False)
    assert any("name no image" in words for words in unsure.warnings)


def test_without_geometry_it_says_what_is_missing(tmp_path):
    heart = [("Heart", closed(in_picture(LEFT, (0.4, 0.4))))]
    with pytest.raises(MedpriorError, match="no millimetres per pixel"):
        annotate_contours(tmp_path, heart, {})
    with pytest.raises(MedpriorError, match=r"outside the picture.*spacing"):
        annotate_contours(tmp_path, heart, {"PixelSpacing": [0.1, 0.1]})
    off = [("Heart", closed([(x, y, 55.0) for x, y, _ in in_picture(LEFT, (0.4, 0.4))]))]
    with pytest.raises(MedpriorError, match=r"picture's plane.*55\.0 mm"):
        annotate_contours(tmp_path, off)
    with pytest.raises(MedpriorError, match="no contour of this image"):
        annotate_contours(tmp_path, [("Heart", [("POINT", [(1.0, 1.0, 0.0)], None)])])
    content = structure_set(heart)
    cut = pydicom.dcmread(io.BytesIO(content))
    cut.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 9
    cut.save_as(tmp_path / "cut.dcm")
    with pytest.raises(MedpriorError, match="points cannot be read"):
        annotate_from_files(tmp_path / "chest.dcm", MaskInputs(annotations=tmp_path / "cut.dcm"))
