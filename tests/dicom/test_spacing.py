"""Pixel spacing comes with its kind; oblong pixels become square."""

import numpy as np
import pytest

from medprior.dicom.decoding.samples import create_sample_dataset
from medprior.dicom.spacing import read_pixel_aspect, read_pixel_spacing
from tests.dicom.sample_files import PICTURE, build_header, read_dataset


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


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"PixelSpacing": ["0.3", "0.2"]}, ((0.3, 0.2), "detector", ())),
        ({"PixelSpacing": ["0.2", "0.2"], "ImagerPixelSpacing": ["0.20001", "0.2"]}, ((0.20001, 0.2), "detector", ())),
        ({"PixelSpacing": ["0.2", "0.2"], "ImagerPixelSpacing": ["0.2", "0.201"]}, ((0.2, 0.2), "calibrated", ())),
        ({"PixelSpacing": ["0.2", "0.2"], "PixelSpacingCalibrationType": "GEOMETRY"}, ((0.2, 0.2), "calibrated", ())),
        ({"ImagerPixelSpacing": ["0.3", "0.2"]}, ((0.3, 0.2), "detector", ())),
        (
            {"ImagerPixelSpacing": ["0.2", "0.2"], "NominalScannedPixelSpacing": ["9", "9"]},
            ((0.2, 0.2), "detector", ()),
        ),
        ({"NominalScannedPixelSpacing": ["0.3", "0.2"]}, ((0.3, 0.2), "film", ())),
        ({"PixelSpacing": ["100", "0.2"]}, (None, "none", ("spacing_unusable",))),
        ({"PixelSpacing": ["0", "0.2"]}, (None, "none", ("spacing_unusable",))),
        ({"PixelSpacing": "0.2"}, (None, "none", ("spacing_unusable",))),
        ({}, (None, "none", ())),
    ],
)
def test_the_row_spacing_comes_first_and_each_source_has_its_kind(elements, expected):
    assert read_pixel_spacing(build_header(**elements)) == expected


@pytest.mark.parametrize(
    ("magnification", "spacing", "kind"),
    [("1", 0.6, "estimated"), ("1.5", 0.4, "estimated"), ("3", 0.2, "estimated"), ("0.9", 0.6, "detector"),
     ("3.1", 0.6, "detector")],
)  # fmt: skip
def test_a_magnification_between_one_and_three_divides_the_detectors_spacing(magnification, spacing, kind):
    header = build_header(ImagerPixelSpacing=["0.6", "0.6"], EstimatedRadiographicMagnificationFactor=magnification)
    pair, given_kind, _ = read_pixel_spacing(header)
    assert pair == pytest.approx((spacing, spacing))
    assert given_kind == kind


@pytest.mark.parametrize(
    ("spacing", "ratio", "flags"),
    [((0.4, 0.2), 2, ()), ((0.2, 0.4), 0.5, ()), ((0.4, 0.1), 4, ()), ((0.41, 0.1), 1, ("aspect_unusable",)),
     ((0.1, 0.41), 1, ("aspect_unusable",)), ((1.004, 1.0), 1, ()), ((1.006, 1.0), 1.006, ())],
)  # fmt: skip
def test_the_aspect_of_a_pixel_is_height_over_width_and_at_most_four(spacing, ratio, flags):
    assert read_pixel_aspect(build_header(), spacing) == (ratio, flags)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, (1, ())),
        ({"PixelAspectRatio": ["3", "2"]}, (1.5, ())),
        ({"PixelAspectRatio": ["3", "0"]}, (1, ("aspect_unusable",))),
        ({"PixelAspectRatio": ["3"]}, (1, ("aspect_unusable",))),
    ],
)
def test_without_a_spacing_the_aspect_is_the_stated_ratio(elements, expected):
    assert read_pixel_aspect(build_header(**elements), None) == expected
