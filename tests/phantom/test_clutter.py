"""Clutter is there, mostly in portable images, and is finite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medprior.phantom.clutter import render_clutter, render_ecg_leads, render_granuloma, render_skin_fold, render_tube
from medprior.phantom.frame import build_frame
from tests.phantom.thorax import anatomy_of


@pytest.mark.parametrize("part", [render_skin_fold, render_granuloma, render_ecg_leads, render_tube])
def test_every_kind_draws_something_thin(part):
    frame = build_frame(anatomy_of(0), 160, 160)
    drawn = part(frame, np.random.default_rng(2))
    assert np.isfinite(drawn).all()
    assert drawn.min() >= 0
    assert 0.5 < drawn.max() < 25
    assert 0 < (drawn > 0.2).mean() < 0.25


def test_portable_images_have_more():
    counts = []
    for portable in (False, True):
        anatomy = replace(anatomy_of(1), portable=portable)
        frame = build_frame(anatomy, 64, 64)
        counts.append(sum(render_clutter(anatomy, frame, np.random.default_rng(s)).any() for s in range(80)))
    assert 5 < counts[0] < 0.7 * counts[1]
