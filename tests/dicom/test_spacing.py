"""Pixel spacing comes with its kind; oblong pixels become square."""

import numpy as np
import pytest

from medprior.dicom.decoding.samples import create_sample_dataset
from tests.dicom.sample_files import PICTURE, read_dataset


def test_oblong_pixels_become_square():
    result = read_dataset(create_sample_dataset(PICTURE, PixelSpacing=["0.4", "0.2"]))
    assert result.pixels.shape == (2 * PICTURE.shape[0], PICTURE.shape[1])
    assert result.spacing_mm == (0.2, 0.2)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, (None, "none")),
        ({"PixelSpacing": ["0.2", "0.2"]}, ((0.2, 0.2), "detector")),
        (
            {"PixelSpacing": ["0.2", "0.2"], "PixelSpacingCalibrationType": "FIDUCIAL"},
            ((0.2, 0.2), "calibrated"),
        ),
        (
            {"PixelSpacing": ["0.18", "0.18"], "ImagerPixelSpacing": ["0.2", "0.2"]},
            ((0.18, 0.18), "calibrated"),
        ),
        (
            {
                "ImagerPixelSpacing": ["0.2", "0.2"],
                "EstimatedRadiographicMagnificationFactor": "1.25",
            },
            ((0.16, 0.16), "estimated"),
        ),
        ({"NominalScannedPixelSpacing": ["0.3", "0.3"]}, ((0.3, 0.3), "film")),
    ],
)
def test_spacing_comes_with_its_kind(elements, expected):
    result = read_dataset(create_sample_dataset(PICTURE, **elements))
    if expected[0]:
        np.testing.assert_allclose(result.spacing_mm, expected[0])
    assert result.spacing_kind == expected[1]
