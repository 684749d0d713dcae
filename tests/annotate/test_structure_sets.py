"""RT Structure Sets, written with pydicom as planning systems do."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from skimage.draw import polygon2mask

from medprior.annotate import annotate_from_files
from medprior.annotate.mask_inputs import MaskInputs
from medprior.annotate.sources import annotate_cohort_image
from medprior.cli import main
from medprior.cohort import Cohort, CohortWriter
from medprior.errors import MedpriorError
from medprior.ingest.masks import apply_orientation
from tests.annotate.drawings import LEFT, POLYGONS, RIGHT, dice, inside
from tests.dicom.object_sources import source

STORED = (120, 96)
SPACING = {"PixelSpacing": [0.5, 0.4]}
PLACE = {
    **SPACING,
    "FrameOfReferenceUID": "1.2.3.99",
    "ImagePositionPatient": [30.0, -12.5, 80.0],
    # Columns run to the patient's left, rows to the feet, turned by 30 degrees about the body.
    "ImageOrientationPatient": [float(np.cos(np.pi / 6)), 0.5, 0.0, 0.0, 0.0, -1.0],
}
SQUARE = {"PixelSpacing": [0.4, 0.4]}


def in_picture(points, spacing):
    """Corner coordinates in pixels -> mm in the picture's own plane."""
    return [((x - 0.5) * spacing[1], (y - 0.5) * spacing[0], 0.0) for x, y in points]


def in_patient(points, place):
    """Corner coordinates in pixels -> mm in the patient (PS3.3 C.7.6.2.1.1, by hand)."""
    rows, cols = place["PixelSpacing"]
    origin, axes = place["ImagePositionPatient"], place["ImageOrientationPatient"]
    return [
        tuple(origin[k] + axes[k] * cols * (x - 0.5) + axes[3 + k] * rows * (y - 0.5) for k in range(3))
        for x, y in points
    ]


def item(**elements):
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def structure_set(rois, image="1.2.3.4.5", frame="1.2.3.99", implicit=False, whole=True):
    """A file as a planning system writes it: name -> [(kind, points in mm, image or None)]."""
    made = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3", SOPInstanceUID="1.2.9.1", Modality="RTSTRUCT",
        StudyInstanceUID="1.2.3.4", SeriesInstanceUID="1.2.9", StructureSetLabel="CHEST",
        PatientName="Somebody^Else", PatientID="ID-7",
    )  # fmt: skip
    if whole:
        images = [item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID=image)]
        series = item(SeriesInstanceUID="1.2.3.4.1", ContourImageSequence=images)
        study = item(ReferencedSOPInstanceUID="1.2.3.4", RTReferencedSeriesSequence=[series])
        made.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])]
    made.StructureSetROISequence = [
        item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID=frame)
        for n, (name, _) in enumerate(rois, start=1)
    ]
    made.ROIContourSequence = []
    for n, (_, contours) in enumerate(rois, start=1):
        drawn = []
        for kind, points, of in contours:
            one = item(
                ContourGeometricType=kind, NumberOfContourPoints=len(points),
                ContourData=[f"{value:.4f}" for point in points for value in point],
            )  # fmt: skip
            if of:
                one.ContourImageSequence = [item(ReferencedSOPInstanceUID=of)]
            drawn.append(one)
        made.ROIContourSequence.append(item(ReferencedROINumber=n, ContourSequence=drawn))
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def closed(points, of="1.2.3.4.5"):
    return [("CLOSED_PLANAR", points, of)]


def read(tmp_path, rois, place=SQUARE, names=None, **more):
    (tmp_path / "chest.dcm").write_bytes(source(**place))
    (tmp_path / "rt.dcm").write_bytes(structure_set(rois, **more))
    given = MaskInputs(annotations=tmp_path / "rt.dcm", names=names or {})
    return annotate_from_files(tmp_path / "chest.dcm", given)


def both(place, to=in_picture):
    return [(name.replace("_", " ").title(), closed(to(points, place))) for name, points in POLYGONS.items()]


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("turn", [None, ["R", "F"], ["R", "H"]])
def test_a_projection_is_drawn_on_from_its_first_pixel(tmp_path, implicit, turn):
    place = SQUARE | ({"PatientOrientation": turn} if turn else {})
    rois = both(SQUARE["PixelSpacing"])
    if turn:
        # What is drawn on the stored pixels lies on the other side once it is upright.
        rois = [(rois[1][0], rois[0][1]), (rois[0][0], rois[1][1])]
    found = read(tmp_path, rois, place, implicit=implicit)
    flag = {None: "", "F": "orientation_mirrored", "H": "orientation_rotated"}
    for name, points in POLYGONS.items():
        own = name if not turn else {"left_lung": "right_lung", "right_lung": "left_lung"}[name]
        truth = apply_orientation(inside(points, STORED), flag[turn and turn[1]])
        assert dice(found.masks[own], truth) > 0.99
    assert any("first pixel" in words for words in found.warnings)


def test_coordinates_in_the_patient_find_their_pixels(tmp_path):
    place = PLACE | {"PixelSpacing": [0.4, 0.4]}
    rois = both(place, in_patient)
    found = read(tmp_path, rois, place)
    for name, points in POLYGONS.items():
        theirs = polygon2mask(STORED, np.array(points)[:, ::-1] - 0.5)
        assert dice(found.masks[name], inside(points, STORED)) > 0.99
        assert dice(found.masks[name], theirs) > 0.98
    assert found.warnings == ()


def test_oblong_pixels_are_made_square_with_the_picture(tmp_path):
    found = read(tmp_path, both(PLACE, in_patient), PLACE)
    shown = found.image.shape
    assert shown[0] / shown[1] == pytest.approx(120 * 0.5 / (96 * 0.4), rel=0.02)
    for name, points in POLYGONS.items():
        scaled = [(x / STORED[1] * shown[1], y / STORED[0] * shown[0]) for x, y in points]
        assert dice(found.masks[name], inside(scaled, shown)) > 0.98


def test_contours_add_up_are_cut_out_or_have_no_area(tmp_path):
    spacing = SQUARE["PixelSpacing"]
    hole = [(60.0, 40.0), (72.0, 40.0), (72.0, 60.0), (60.0, 60.0)]
    left, right, cut = (in_picture(points, spacing) for points in (LEFT, RIGHT, hole))
    contours = [*closed(left), ("CLOSEDPLANAR_XOR", cut, None), ("POINT", left[:1], None)]
    found = read(tmp_path, [("Left Lung", contours), ("Heart", [*closed(left), *closed(cut)]),
                            ("lungs", [*closed(left), *closed(right)])])  # fmt: skip
    whole, part = inside(LEFT, STORED), inside(hole, STORED)
    assert dice(found.masks["left_lung"], whole & ~part) > 0.99
    assert dice(found.masks["heart"], whole) > 0.99
    assert dice(found.masks["lungs"], whole | inside(RIGHT, STORED)) > 0.99
    assert any("POINT" in words for words in found.warnings)
    assert any("Heart: a contour lies inside" in words for words in found.warnings)


def test_two_that_are_called_lung_are_told_by_their_sides(tmp_path):
    spacing = SQUARE["PixelSpacing"]
    rois = [("Lung", closed(in_picture(points, spacing))) for points in (LEFT, RIGHT)]
    found = read(tmp_path, rois)
    assert found.structures == ("left_lung", "right_lung")
    assert dice(found.masks["left_lung"], inside(LEFT, STORED)) > 0.99
    assert any("without a side" in words for words in found.warnings)


def test_contours_of_another_image_are_left_out_or_refused(tmp_path):
    spacing = SQUARE["PixelSpacing"]
    left, right = (in_picture(points, spacing) for points in (LEFT, RIGHT))
    rois = [("Left Lung", [*closed(left), *closed(right, "1.2.3.4.6")])]
    found = read(tmp_path, rois)
    assert dice(found.masks["left_lung"], inside(LEFT, STORED)) > 0.99
    with pytest.raises(MedpriorError, match="another image"):
        read(tmp_path, [("Heart", closed(left, "1.2.3.4.6"))], image="1.2.3.4.6")
    placed = PLACE | SQUARE
    heart = [("Heart", closed(in_patient(LEFT, placed), None))]
    with pytest.raises(MedpriorError, match="another image"):
        read(tmp_path, heart, placed, frame="1.2.3.98", whole=False)
    assert read(tmp_path, heart, placed, whole=False).warnings == ()
    unsure = read(tmp_path, [("Heart", closed(left, None))], whole=False)
    assert any("name no image" in words for words in unsure.warnings)


def test_without_geometry_it_says_what_is_missing(tmp_path):
    heart = [("Heart", closed(in_picture(LEFT, (0.4, 0.4))))]
    with pytest.raises(MedpriorError, match="no millimetres per pixel"):
        read(tmp_path, heart, {})
    with pytest.raises(MedpriorError, match=r"outside the picture.*spacing"):
        read(tmp_path, heart, {"PixelSpacing": [0.1, 0.1]})
    off = [("Heart", closed([(x, y, 55.0) for x, y, _ in in_picture(LEFT, (0.4, 0.4))]))]
    with pytest.raises(MedpriorError, match=r"picture's plane.*55\.0 mm"):
        read(tmp_path, off)
    with pytest.raises(MedpriorError, match="no contour of this image"):
        read(tmp_path, [("Heart", [("POINT", [(1.0, 1.0, 0.0)], None)])])
    content = structure_set(heart)
    cut = pydicom.dcmread(io.BytesIO(content))
    cut.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 9
    cut.save_as(tmp_path / "cut.dcm")
    with pytest.raises(MedpriorError, match="points cannot be read"):
        annotate_from_files(tmp_path / "chest.dcm", MaskInputs(annotations=tmp_path / "cut.dcm"))


def test_a_cohort_keeps_no_position(tmp_path):
    with CohortWriter(tmp_path / "c") as writer:
        writer.add(image_id="a", pixels=np.full(STORED, 0.5, np.float32), patient_id="p")
        writer.finish(split={"a": "train"})
    (tmp_path / "rt.dcm").write_bytes(structure_set(both((0.4, 0.4))))
    with pytest.raises(MedpriorError, match="a cohort does not keep"):
        annotate_cohort_image(Cohort.open(tmp_path / "c"), "a", MaskInputs(annotations=tmp_path / "rt.dcm"))


def test_command(tmp_path, capsys):
    (tmp_path / "chest.dcm").write_bytes(source(**SQUARE))
    (tmp_path / "rt.dcm").write_bytes(structure_set(both((0.4, 0.4))))
    call = ["annotate", str(tmp_path / "out"), "--image", str(tmp_path / "chest.dcm"),
            "--no-tracking"]  # fmt: skip
    assert main([*call, "--annotation", str(tmp_path / "rt.dcm")]) == 0
    assert "left_lung, right_lung" in capsys.readouterr().out
    (tmp_path / "chest.dcm").write_bytes(source())
    assert main([*call, "--annotations", str(tmp_path / "rt.dcm")]) == 2
    assert "no millimetres per pixel" in capsys.readouterr().err
