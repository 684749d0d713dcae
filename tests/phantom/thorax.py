"""Drawn anatomies and grids for tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medprior.phantom.anatomy import Anatomy, sample_anatomy, sample_patient
from medprior.phantom.frame import ThoraxFrame, build_thorax_frame


def anatomy_of(seed):
    """An upright patient's anatomy."""
    rng = np.random.default_rng(seed)
    return sample_anatomy(sample_patient(rng), False, rng)


def straight_anatomy(**changes) -> Anatomy:
    """A patient in the middle of the image, neither turned nor lopsided, whose box is 200 mm wide."""
    plain = {
        "box_width": 0.8, "box_height": 0.8, "centre_x": 0.5, "centre_y": 0.5, "roll": 0.0, "yaw": 0.0,
        "right_width": 0.44, "left_width": 0.44, "right_top": 0.0, "left_top": 0.0, "right_bottom": 1.0,
        "left_bottom": 1.0, "heart_width": 0.5, "heart_height": 0.4, "heart_x": 0.6, "heart_y": 0.7,
        "width_mm": 200.0, "depth_mm": 120.0, "fat": 1.0, "male": True, "portable": False,
        "bulge": (0.0, 0.0, 0.0, 0.0),
    }  # fmt: skip
    return replace(anatomy_of(0), **(plain | changes))


def straight_frame(anatomy: Anatomy, size: int = 100) -> ThoraxFrame:
    """The square grid of an anatomy."""
    return build_thorax_frame(anatomy, size, size)
