"""Vessel trees and the grain of the lung."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from medprior.phantom.vessels import grow_vessel_tree, render_vessels, sample_lung_grain
from tests.phantom.thorax import straight_anatomy, straight_frame


def test_a_branch_too_thin_to_show_does_not_grow():
    assert grow_vessel_tree(0, 0, 0, 0.54, np.random.default_rng(0)) == []
    assert len(grow_vessel_tree(0, 0, 0, 0.56, np.random.default_rng(0))) >= 1


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_begins_in_its_direction_and_every_child_is_thinner(seed):
    rods = grow_vessel_tree(5.0, 7.0, np.pi / 2, 4.0, np.random.default_rng(seed))
    first = rods[0]
    assert (first.x0, first.y0, first.r0) == (5, 7, 4)
    assert first.r1 == pytest.approx(0.86 * 4)
    assert first.x1 == pytest.approx(5)
    assert 7 + 0.7 * 25 <= first.y1 <= 7 + 1.3 * 25
    parents = {(rod.x1, rod.y1): rod.r0 for rod in rods}
    for rod in rods[1:]:
        assert 0.55 <= rod.r0 < 0.9 * parents[rod.x0, rod.y0]
    assert max(Counter((rod.x0, rod.y0) for rod in rods).values()) == 2


def test_both_lungs_have_vessels_that_start_at_the_hila():
    anatomy = straight_anatomy()
    frame = straight_frame(anatomy, 100)
    tissue = render_vessels(anatomy, frame, np.random.default_rng(0))
    for half, hilum in ((frame.u < 0.5, (0.44 - 0.005, 0.43)), (frame.u > 0.5, (0.56 + 0.005, 0.40))):
        near = half & (np.hypot(frame.u - hilum[0], frame.v - hilum[1]) < 0.08)
        assert tissue[near].mean() > 4 * tissue[half & ~near].mean()
        assert 0.03 < (tissue[half] > 0).mean() < 0.6
    assert tissue.max() == pytest.approx(16, abs=1)


def test_grain_has_unit_deviation_and_features_of_the_size_asked():
    grains = {cell: sample_lung_grain((90, 70), cell, np.random.default_rng(0)) for cell in (3.0, 9.5)}
    roughness = {}
    for cell, grain in grains.items():
        assert grain.shape == (90, 70)
        assert grain.std() == pytest.approx(1, abs=1e-4)
        roughness[cell] = np.abs(np.diff(grain, axis=0)).mean()
    assert roughness[9.5] < 0.5 * roughness[3.0]
