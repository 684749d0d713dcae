"""Masks outside the body."""

import numpy as np

from medprior.annotate import Annotation
from medprior.annotate.body_check import find_air_outside_body, warn_outside_body
from tests.annotate.drawings import (
    SHAPE,
)


def test_a_mask_in_the_air_beside_the_body_gets_a_warning():
    pixels = np.zeros(SHAPE, np.float32)
    pixels[10:110, 20:70] = 0.6
    pixels[30:90, 25:65] = 0.0
    inner, outer = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    inner[40:80, 30:60] = True
    outer[40:80, 60:90] = True
    warnings = Annotation(pixels, {"heart": inner, "device": outer}).warnings
    assert [w for w in warnings if "outside the body" in w] == [
        "device: 66% of it lies outside the body; see preview.png"
    ]


def test_dark_lungs_inside_the_body_are_not_outside():
    image = np.full((128, 128), 0.05, np.float32)
    image[20:108, 20:108] = 0.6
    image[40:60, 40:60] = 0.0
    outside = find_air_outside_body(image)
    assert outside.sum() == 128 * 128 - 88 * 88
    assert not outside[20:108, 20:108].any()


def test_the_dark_level_itself_is_not_dark():
    assert not find_air_outside_body(np.full((128, 128), 0.06, np.float32)).any()
    assert find_air_outside_body(np.full((128, 128), 0.059, np.float32)).all()


def test_a_quarter_outside_is_allowed():
    image = np.full((128, 128), 0.6, np.float32)
    image[:, :64] = 0.0
    mask = np.zeros((128, 128), bool)
    mask[10:20, 63:67] = True
    assert warn_outside_body(image, {"heart": mask}) == ()
    mask[10:20, 62] = True
    (warning,) = warn_outside_body(image, {"heart": mask})
    assert warning.startswith("heart: 40% of it lies outside the body")
