"""A frontal picture is turned so that the feet are below and the left is on the right."""

import numpy as np
import pytest

from medprior.dicom.decoding.samples import create_sample_dataset
from medprior.dicom.display.orientation import find_reorientation
from tests.dicom.sample_files import PICTURE, build_header, read_dataset


@pytest.mark.parametrize(
    ("orientation", "turned", "flag"),
    [
        (["L", "F"], lambda a: a, None),
        (["R", "F"], np.fliplr, "orientation_mirrored"),
        (["R", "H"], lambda a: np.rot90(a, 2), "orientation_rotated"),
        (["F", "L"], lambda a: a, "orientation_unusual"),
    ],
)
def test_a_picture_is_turned_upright_and_says_how(orientation, turned, flag):
    result = read_dataset(create_sample_dataset(PICTURE, PatientOrientation=orientation))
    np.testing.assert_allclose(result.pixels, turned(PICTURE / 4095), atol=1e-6)
    assert result.flags == ((flag,) if flag else ())


@pytest.mark.parametrize(
    ("orientation", "flags"),
    [
        (None, ()),
        (["L", "F"], ()),
        (["LA", "FR"], ()),
        (["A", "F"], ()),
        (["P", "F"], ()),
        (["L", "H"], ("orientation_unusual",)),
        (["F", "L"], ("orientation_unusual",)),
        (["L", ""], ("orientation_unusable",)),
        (["L", "F", "P"], ("orientation_unusable",)),
        (["L"], ("orientation_unusable",)),
    ],
)
def test_other_orientations_leave_the_picture_unchanged(orientation, flags):
    header = build_header(**({"PatientOrientation": orientation} if orientation else {}))
    turn, given_flags = find_reorientation(header)
    assert turn(np.array([[1, 2], [3, 4]])).tolist() == [[1, 2], [3, 4]]
    assert given_flags == flags


def test_a_mirrored_picture_is_flipped_left_right_and_one_on_its_head_rotated():
    picture = np.array([[1, 2], [3, 4]])
    turned = {
        letters: find_reorientation(build_header(PatientOrientation=list(letters)))[0](picture).tolist()
        for letters in ("RF", "RH")
    }
    assert turned == {"RF": [[2, 1], [4, 3]], "RH": [[4, 3], [2, 1]]}
