"""Clutter is there, mostly in portable images, and is finite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medprior.phantom.anatomy import draw_anatomy, draw_patient
from medprior.phantom.clutter import clutter, fold, granuloma, leads, tube
from medprior.phantom.collimation import draw_collimation
from medprior.phantom.frame import frame_of
from medprior.phantom.outline import structure_masks


def anatomy_of(seed):
    rng = np.random.default_rng(seed)
    return draw_anatomy(draw_patient(rng), False, rng)


@pytest.mark.parametrize("part", [fold, granuloma, leads, tube])
def test_every_kind_draws_something_thin(part):
    frame = frame_of(anatomy_of(0), 160, 160)
    drawn = part(frame, np.random.default_rng(2))
    assert np.isfinite(drawn).all()
    assert drawn.min() >= 0
    assert 0.5 < drawn.max() < 25
    assert 0 < (drawn > 0.2).mean() < 0.25


def test_portable_images_have_more():
    counts = []
    for portable in (False, True):
        anatomy = replace(anatomy_of(1), portable=portable)
        frame = frame_of(anatomy, 64, 64)
        counts.append(
            sum(clutter(anatomy, frame, np.random.default_rng(s)).any() for s in range(80))
        )
    assert 5 < counts[0] < 0.7 * counts[1]


def test_field_never_cuts_the_lungs():
    for seed in range(60):
        anatomy = anatomy_of(seed)
        field = draw_collimation(anatomy, np.random.default_rng(seed)).open_field(128, 128)
        frame = frame_of(replace(anatomy, roll=0.0), 128, 128)
        masks = structure_masks(anatomy, frame.u, frame.v)
        assert field[masks["left_lung"] | masks["right_lung"]].all()
