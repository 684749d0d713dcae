"""Structures of RT Structure Sets on the pixels of a radiograph."""

import io

import numpy as np
import pydicom
import pytest
from skimage.draw import polygon2mask

from medprior.annotate import annotate_from_files
from medprior.annotate.image_plane import ImagePlane
from medprior.annotate.mask_inputs import MaskInputs
from medprior.annotate.rt_structures import (
    ImageReferences,
    RtContour,
    check_references,
    is_structure_set,
    project_contour,
    rasterise_contours,
)
from medprior.dicom import read_image
from medprior.errors import MedpriorError
from medprior.ingest.masks import apply_orientation
from medprior.metrics.overlap import compute_dice
from tests.annotate.drawings import LEFT, POLYGONS, RIGHT, inside
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
from tests.dicom.object_sources import source


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
        assert compute_dice(annotation.masks[own], truth) > 0.99
    assert any("first pixel" in words for words in annotation.warnings)


def test_coordinates_in_the_patient_find_their_pixels(tmp_path):
    place = PLACE | {"PixelSpacing": [0.4, 0.4]}
    rois = both(place, in_patient)
    annotation = annotate_contours(tmp_path, rois, place)
    for name, points in POLYGONS.items():
        theirs = polygon2mask(STORED, np.array(points)[:, ::-1] - 0.5)
        assert compute_dice(annotation.masks[name], inside(points, STORED)) > 0.99
        assert compute_dice(annotation.masks[name], theirs) > 0.98
    assert annotation.warnings == ()


def test_oblong_pixels_are_made_square_with_the_picture(tmp_path):
    annotation = annotate_contours(tmp_path, both(PLACE, in_patient), PLACE)
    shown = annotation.image.shape
    assert shown[0] / shown[1] == pytest.approx(120 * 0.5 / (96 * 0.4), rel=0.02)
    for name, points in POLYGONS.items():
        scaled = [(x / STORED[1] * shown[1], y / STORED[0] * shown[0]) for x, y in points]
        assert compute_dice(annotation.masks[name], inside(scaled, shown)) > 0.98


def test_contours_add_up_are_cut_out_or_have_no_area(tmp_path):
    spacing = SQUARE["PixelSpacing"]
    hole = [(60.0, 40.0), (72.0, 40.0), (72.0, 60.0), (60.0, 60.0)]
    left, right, cut = (in_picture(points, spacing) for points in (LEFT, RIGHT, hole))
    contours = [*closed(left), ("CLOSEDPLANAR_XOR", cut, None), ("POINT", left[:1], None)]
    annotation = annotate_contours(tmp_path, [("Left Lung", contours), ("Heart", [*closed(left), *closed(cut)]),
                            ("lungs", [*closed(left), *closed(right)])])  # fmt: skip
    whole, part = inside(LEFT, STORED), inside(hole, STORED)
    assert compute_dice(annotation.masks["left_lung"], whole & ~part) > 0.99
    assert compute_dice(annotation.masks["heart"], whole) > 0.99
    assert compute_dice(annotation.masks["lungs"], whole | inside(RIGHT, STORED)) > 0.99
    assert any("POINT" in words for words in annotation.warnings)
    assert any("Heart: a contour lies inside" in words for words in annotation.warnings)


def test_two_that_are_called_lung_are_told_by_their_sides(tmp_path):
    spacing = SQUARE["PixelSpacing"]
    rois = [("Lung", closed(in_picture(points, spacing))) for points in (LEFT, RIGHT)]
    annotation = annotate_contours(tmp_path, rois)
    assert annotation.structures == ("left_lung", "right_lung")
    assert compute_dice(annotation.masks["left_lung"], inside(LEFT, STORED)) > 0.99
    assert any("without a side" in words for words in annotation.warnings)


def test_contours_of_another_image_are_left_out_or_refused(tmp_path):
    spacing = SQUARE["PixelSpacing"]
    left, right = (in_picture(points, spacing) for points in (LEFT, RIGHT))
    rois = [("Left Lung", [*closed(left), *closed(right, "1.2.3.4.6")])]
    annotation = annotate_contours(tmp_path, rois)
    assert compute_dice(annotation.masks["left_lung"], inside(LEFT, STORED)) > 0.99
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


UNIT_PLANE = ImagePlane(np.zeros(3), np.eye(3)[:2], (1.0, 1.0), False)


def contour_of(left, top, right, bottom, kind="CLOSED_PLANAR", z=0.0):
    """A rectangle in pixels of `UNIT_PLANE`, whose first pixel has its centre at 0 mm."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return RtContour(kind, np.array([c for x, y in corners for c in (x - 0.5, y - 0.5, z)]), 4, frozenset())


def test_points_are_triples_of_the_number_stated():
    assert RtContour("CLOSED_PLANAR", np.arange(9.0), None, frozenset()).points("x").tolist() == [
        [0, 1, 2], [3, 4, 5], [6, 7, 8],
    ]  # fmt: skip
    for values, count in ((np.arange(9.0), 4), (np.arange(8.0), None), (np.empty(0), None)):
        with pytest.raises(MedpriorError, match="points cannot be read"):
            RtContour("CLOSED_PLANAR", values, count, frozenset()).points("x")


def test_an_exclusive_contour_cuts_what_overlaps_and_keeps_the_rest():
    first, second = contour_of(1, 1, 5, 5), contour_of(3, 1, 7, 5, "CLOSEDPLANAR_XOR")
    mask, warnings = rasterise_contours([first, second], UNIT_PLANE, (8, 8), "x")
    assert (np.flatnonzero(mask.any(axis=0)).tolist(), mask.sum(), warnings) == ([1, 2, 5, 6], 16, [])
    mask, _ = rasterise_contours([second], UNIT_PLANE, (8, 8), "x")
    assert mask.sum() == 16


def test_a_contour_inside_another_is_filled_with_a_warning():
    mask, warnings = rasterise_contours([contour_of(1, 1, 5, 5), contour_of(2, 2, 4, 4)], UNIT_PLANE, (8, 8), "x")
    assert (mask.sum(), len(warnings)) == (16, 1)
    assert rasterise_contours([contour_of(1, 1, 5, 5), contour_of(2, 2, 6, 4)], UNIT_PLANE, (8, 8), "x")[1] == []


def test_nothing_with_an_area_is_no_mask():
    mask, warnings = rasterise_contours([contour_of(1, 1, 5, 5, "OPEN_PLANAR")], UNIT_PLANE, (8, 8), "x")
    assert mask is None
    assert "OPEN_PLANAR has no area" in warnings[0]


def test_a_contour_lies_within_a_millimetre_of_the_plane_and_its_centre_in_the_picture():
    ring = project_contour(contour_of(1, 2, 5, 4, z=1.0), UNIT_PLANE, (8, 8), "x")
    assert ring.tolist() == [[1, 2], [5, 2], [5, 4], [1, 4]]
    with pytest.raises(MedpriorError, match=r"found 1\.1 mm away"):
        project_contour(contour_of(1, 2, 5, 4, z=-1.1), UNIT_PLANE, (8, 8), "x")
    project_contour(contour_of(7, 5, 9, 7), UNIT_PLANE, (6, 8), "x")
    with pytest.raises(MedpriorError, match="centre at row 7, column 8"):
        project_contour(contour_of(7, 5, 9, 9), UNIT_PLANE, (6, 8), "x")


@pytest.mark.parametrize(
    ("images", "frames", "outcome"),
    [
        ({"1.2.3.4.5", "1.2.3.4.6"}, {"other"}, "known"),
        ({"1.2.3.4.6"}, {"1.2.3.99"}, "refused"),
        (set(), {"1.2.3.99", "other"}, "known"),
        (set(), {"other"}, "refused"),
        (set(), set(), "unsure"),
    ],
)
def test_images_decide_before_frames_of_reference(images, frames, outcome):
    radiograph = read_image(io.BytesIO(source()))
    plane = ImagePlane(np.zeros(3), np.eye(3)[:2], (1.0, 1.0), True, "1.2.3.99")
    references = ImageReferences(frozenset(images), frozenset(frames))
    if outcome == "refused":
        with pytest.raises(MedpriorError, match="another image"):
            check_references(references, radiograph, plane, "x")
    else:
        assert bool(check_references(references, radiograph, plane, "x")) == (outcome == "unsure")


def test_a_structure_set_is_known_by_class_or_modality(tmp_path):
    content = pydicom.dcmread(io.BytesIO(structure_set([])))
    for modality, uid, expected in (
        ("RTSTRUCT", "1.2.3", True),
        ("OT", "1.2.840.10008.5.1.4.1.1.481.3", True),
        ("OT", "1.2.840.10008.5.1.4.1.1.481.2", False),
    ):
        content.Modality, content.SOPClassUID = modality, uid
        content.save_as(tmp_path / "file.dcm")
        assert is_structure_set(tmp_path / "file.dcm") == expected


def test_a_region_without_a_name_is_called_by_its_number(tmp_path):
    content = pydicom.dcmread(io.BytesIO(structure_set(both((0.4, 0.4)))))
    content.StructureSetROISequence[0].ROIName = " "
    del content.StructureSetROISequence[1]
    content.save_as(tmp_path / "rt.dcm")
    (tmp_path / "chest.dcm").write_bytes(source(**SQUARE))
    annotation = annotate_from_files(tmp_path / "chest.dcm", MaskInputs(annotations=tmp_path / "rt.dcm"))
    assert annotation.structures == ("roi_1", "roi_2")
