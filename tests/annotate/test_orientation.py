"""Slices turned by the directions of their axes."""

import nibabel
import numpy as np
import pytest

from medprior.annotate.orientation import find_patient_axis, orient_slice
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


LAYER = np.arange(6).reshape(2, 3, 1)
STORED = LAYER[..., 0].T
AXIS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


def directions(letters):
    """Directions of the three axes by where they run to, in LPS."""
    return np.array([AXIS[letter] for letter in letters], float).T


@pytest.mark.parametrize(
    ("letters", "levels", "changes"),
    [
        ("LPS", STORED, ""),
        ("RPS", STORED[:, ::-1], "mirrored;"),
        ("LAS", STORED[::-1], "turned upside down;"),
        ("RAS", STORED[::-1, ::-1], "mirrored and turned upside down;"),
        ("PLS", STORED.T, ""),
        ("PRS", STORED.T[:, ::-1], "mirrored;"),
    ],
)
def test_a_transverse_slice_lies_on_the_stored_pixels(letters, levels, changes):
    oriented = orient_slice(LAYER, directions(letters), False, "file")
    np.testing.assert_array_equal(oriented.levels, levels)
    assert not oriented.is_upright
    assert [words.partition(" had the drawing ")[2].split(" look")[0] for words in oriented.warnings] == (
        [changes] if changes else []
    )


@pytest.mark.parametrize(
    ("letters", "levels", "warned"),
    [
        ("LIP", STORED, False),
        ("LSP", STORED[::-1], True),
        ("RIP", STORED[:, ::-1], True),
        ("ILP", STORED.T, False),
        ("SRA", STORED.T[::-1, ::-1], True),
    ],
)
def test_a_frontal_slice_is_upright_with_the_feet_below(letters, levels, warned):
    oriented = orient_slice(LAYER, directions(letters), False, "file")
    np.testing.assert_array_equal(oriented.levels, levels)
    assert oriented.is_upright
    assert bool(oriented.warnings) == warned


def test_a_sagittal_or_oblique_slice_is_taken_as_stored_with_a_warning():
    angle = np.deg2rad([15, 20])
    slight, strong = (
        np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ directions("RPS") for a in angle
    )
    for given in (directions("PSL"), strong):
        oriented = orient_slice(LAYER, given, False, "file")
        np.testing.assert_array_equal(oriented.levels, STORED)
        assert "not those of a frontal picture" in oriented.warnings[0]
    np.testing.assert_array_equal(orient_slice(LAYER, slight, False, "file").levels, STORED[:, ::-1])


def test_as_stored_ignores_directions():
    oriented = orient_slice(LAYER, directions("RSP"), True, "file")
    np.testing.assert_array_equal(oriented.levels, STORED)
    assert not oriented.is_upright
    assert oriented.warnings == ()


def test_an_axis_is_named_by_its_main_component():
    assert find_patient_axis(directions("LIP"), 1) == (2, -1.0)
    assert find_patient_axis(np.array([[0.95], [0.0], [0.312]]), 0) == (0, 1.0)
    assert find_patient_axis(np.array([[-0.949], [0.315], [0.0]]), 0) == (-1, -1.0)
    assert find_patient_axis(np.eye(2), 2) == (-1, 1.0)
