"""Millimetres in the patient or the picture to pixels."""

import numpy as np
import pytest

from medprior.annotate.image_plane import ImagePlane, is_orthonormal
from medprior.annotate.mask_inputs import MaskInputs
from medprior.annotate.sources import annotate_cohort_image
from medprior.cohort import Cohort, CohortWriter
from medprior.errors import MedpriorError
from tests.annotate.drawings import picture_at
from tests.annotate.structure_sets import STORED, both, structure_set
from tests.dicom.object_sources import CR, source


def test_an_image_of_a_cohort_has_no_position(tmp_path):
    with CohortWriter(tmp_path / "c") as writer:
        writer.add(image_id="a", pixels=np.full(STORED, 0.5, np.float32), patient_id="p")
        writer.finish(split={"a": "train"})
    (tmp_path / "rt.dcm").write_bytes(structure_set(both((0.4, 0.4))))
    with pytest.raises(MedpriorError, match="a cohort does not keep"):
        annotate_cohort_image(Cohort.open(tmp_path / "c"), "a", MaskInputs(annotations=tmp_path / "rt.dcm"))


def plane_of(tmp_path, **elements):
    (tmp_path / "chest.dcm").write_bytes(source(**elements))
    return ImagePlane.from_file(tmp_path / "chest.dcm", "--annotations")


def test_millimetres_become_pixels_along_both_axes():
    plane = ImagePlane(np.array([10.0, 20, 30]), np.array([[1.0, 0, 0], [0, 0, -1]]), (0.5, 0.25), True)
    pixels, distances = plane.to_pixels(np.array([[10.0, 20, 30], [11, 23, 29], [10, 18, 30.5]]))
    np.testing.assert_allclose(pixels, [[0.5, 0.5], [4.5, 2.5], [0.5, -0.5]])
    np.testing.assert_allclose(distances, [0, 3, 2])


@pytest.mark.parametrize(
    ("elements", "spacing"),
    [
        ({"PixelSpacing": [0.5, 0.4], "ImagerPixelSpacing": [0.6, 0.3]}, (0.5, 0.4)),
        ({"ImagerPixelSpacing": [0.6, 0.3], "NominalScannedPixelSpacing": [0.2, 0.1]}, (0.6, 0.3)),
        ({"NominalScannedPixelSpacing": [0.2, 0.1], "SOPClassUID": CR, "Modality": "CR"}, (0.2, 0.1)),
    ],
)
def test_spacing_is_that_of_the_patient_then_the_detector_then_the_film(tmp_path, elements, spacing):
    plane = plane_of(tmp_path, **elements)
    assert plane.spacing == spacing
    assert not plane.in_patient
    np.testing.assert_array_equal(plane.origin, [0, 0, 0])


@pytest.mark.parametrize(
    ("orientation", "in_patient"),
    [([0, 1, 0, 0, 0, -1], True), ([1, 0, 0, 1, 0, 0], False), ([2, 0, 0, 0, 1, 0], False), ([1, 0, 0], False)],
)
def test_a_position_counts_with_two_perpendicular_axes_only(tmp_path, orientation, in_patient):
    place = {"ImagePositionPatient": [5, 6, 7], "ImageOrientationPatient": orientation}
    plane = plane_of(tmp_path, PixelSpacing=[0.5, 0.4], **place)
    assert plane.in_patient == in_patient
    assert plane.origin.tolist() == ([5, 6, 7] if in_patient else [0, 0, 0])
    assert plane.axes.tolist() == ([[0, 1, 0], [0, 0, -1]] if in_patient else [[1, 0, 0], [0, 1, 0]])


def test_axes_without_a_position_or_a_position_without_axes_do_not_count(tmp_path):
    axes = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    for place in (axes, axes | {"ImagePositionPatient": [5, 6]}, {"ImagePositionPatient": [5, 6, 7]}):
        assert not plane_of(tmp_path, PixelSpacing=[0.5, 0.4], **place).in_patient


def test_a_picture_without_dicom_has_no_plane(tmp_path):
    with pytest.raises(MedpriorError, match="no DICOM file"):
        ImagePlane.from_file(picture_at(tmp_path / "chest.png"), "--annotations")


def test_axes_are_orthonormal_to_a_thousandth():
    assert is_orthonormal(np.array([[1, 0, 0], [0, 1.0004, 0]]))
    assert not is_orthonormal(np.array([[1, 0, 0], [0, 1.001, 0]]))
    assert not is_orthonormal(np.array([[1, 0, 0], [0, np.nan, 0]]))


def test_a_plane_keeps_its_frame_of_reference(tmp_path):
    assert plane_of(tmp_path, PixelSpacing=[0.5, 0.4], FrameOfReferenceUID="1.2.9").frame == "1.2.9"
    assert plane_of(tmp_path, PixelSpacing=[0.5, 0.4]).frame == ""
