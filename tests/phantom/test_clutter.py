"""Clutter is there, mostly in portable images, and is finite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medprior.phantom.clutter import (
    METAL_TO_BONE_RATIO,
    render_clutter,
    render_ecg_leads,
    render_granuloma,
    render_skin_fold,
    render_tube,
    sample_curved_line,
)
from medprior.phantom.frame import build_thorax_frame
from tests.phantom.thorax import anatomy_of, straight_anatomy, straight_frame


@pytest.mark.parametrize("part", [render_skin_fold, render_granuloma, render_ecg_leads, render_tube])
def test_every_kind_draws_something_thin(part):
    frame = build_thorax_frame(anatomy_of(0), 160, 160)
    drawn = part(frame, np.random.default_rng(2))
    assert np.isfinite(drawn).all()
    assert drawn.min() >= 0
    assert 0.5 < drawn.max() < 25
    assert 0 < (drawn > 0.2).mean() < 0.25


def test_portable_images_have_more():
    counts = []
    for portable in (False, True):
        anatomy = replace(anatomy_of(1), portable=portable)
        frame = build_thorax_frame(anatomy, 64, 64)
        counts.append(sum(render_clutter(anatomy, frame, np.random.default_rng(s)).any() for s in range(80)))
    assert 5 < counts[0] < 0.7 * counts[1]


def test_a_bent_line_runs_from_one_point_to_the_other_in_millimetres():
    frame = straight_frame(straight_anatomy(), 40)
    x, y = sample_curved_line(frame, (0.25, 0.1), (0.75, 0.6), np.random.default_rng(0))
    assert (len(x), len(y)) == (24, 24)
    # The box is 200 mm wide and high, its middle is x = 0.
    assert [x[0], y[0], x[-1], y[-1]] == pytest.approx([-50, 20, 50, 120])
    straight = np.linspace(-50, 50, 24)
    np.testing.assert_allclose(y - np.linspace(20, 120, 24), 0.3 * (x - straight), atol=1e-9)
    assert np.abs(x - straight).max() > 1


def test_metal_is_denser_than_bone_and_a_granuloma_at_most_six_millimetres_deep():
    frame = straight_frame(straight_anatomy(), 100)
    for seed in range(10):
        assert render_granuloma(frame, np.random.default_rng(seed)).max() <= 6
        # A tube of 1.1 or 1.3 mm radius.
        assert render_tube(frame, np.random.default_rng(seed)).max() <= METAL_TO_BONE_RATIO * 2.6 + 1e-5
