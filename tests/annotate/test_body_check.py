"""Masks outside the body."""

import numpy as np

from medprior.annotate import Annotation
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
