"""Slices turned by the directions of their axes."""

import nibabel
import numpy as np
import pytest

from tests.annotate.drawings import (
    affine,
    annotate_drawing,
    assert_is_drawing,
    assert_refused,
    label_map,
)


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("x", [1, -1])
@pytest.mark.parametrize("y", [1, -1])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_nifti_by_nibabel_whatever_its_directions(tmp_path, ending, x, y, dtype):
    # Index order of NIfTI is column, row, slice; the drawing stays where it is in space.
    data = label_map(dtype)[::y, ::x].T[..., None]
    nibabel.save(nibabel.Nifti1Image(data, affine(x, y)), tmp_path / f"seg.{ending}")
    annotation = annotate_drawing(tmp_path, tmp_path / f"seg.{ending}")
    assert_is_drawing(annotation)
    assert any("directions" in warning for warning in annotation.warnings) == ((x, y) != (1, 1))


def test_nifti_of_a_canonical_coronal_slice_by_nibabel(tmp_path):
    # Right to left, one slice front to back, feet to head.
    data = label_map()[::-1, ::-1].T[:, None, :]
    matrix = np.diag([0.2, 1.0, 0.2, 1.0])
    matrix[:3, 3] = -9.0, 4.0, -12.0
    nibabel.save(nibabel.Nifti1Image(data, matrix), tmp_path / "seg.nii.gz")
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "seg.nii.gz"))


def test_nifti_with_axes_exchanged(tmp_path):
    data = label_map()[..., None]
    matrix = np.array([[0, -0.2, 0, 3], [-0.2, 0, 0, 5], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(data, matrix), tmp_path / "seg.nii.gz")
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "seg.nii.gz"))


def test_a_volume_of_several_slices_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((90, 120, 5), np.uint8), None), tmp_path / "b.nii")
    assert_refused(tmp_path, tmp_path / "b.nii", "not one slice.*90 x 120 x 5")
