"""The collimated field and the side marker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medprior.phantom.collimation import sample_collimation
from medprior.phantom.frame import build_frame
from medprior.phantom.outline import compute_structure_masks
from tests.phantom.thorax import anatomy_of


def test_field_never_cuts_the_lungs():
    for seed in range(60):
        anatomy = anatomy_of(seed)
        field = sample_collimation(anatomy, np.random.default_rng(seed)).field_mask(128, 128)
        frame = build_frame(replace(anatomy, roll=0.0), 128, 128)
        masks = compute_structure_masks(anatomy, frame.u, frame.v)
        assert field[masks["left_lung"] | masks["right_lung"]].all()
