"""A frontal picture is turned so that the feet are below and the left is on the right."""

import numpy as np
import pytest

from medprior.dicom.decoding.samples import create_sample_dataset
from tests.dicom.sample_files import PICTURE, read_dataset


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
