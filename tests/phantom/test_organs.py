"""Chords through the soft parts: where they are, how deep, on which side."""

from __future__ import annotations

import numpy as np
import pytest

from medprior.phantom.organs import (
    airway_chord,
    arm_chord,
    breast_chord,
    heart_chord,
    lung_chord,
    sample_stomach_gas,
    trunk_chord,
)
from medprior.phantom.outline import diaphragm_height, heart_borders, lung_borders
from tests.phantom.thorax import straight_anatomy, straight_frame

ANATOMY = straight_anatomy()
FRAME = straight_frame(ANATOMY, 120)


def assert_symmetric(chord):
    np.testing.assert_allclose(chord, chord[:, ::-1], atol=0.05)


def test_the_trunk_is_as_deep_as_patient_and_fat():
    for fat, depth in ((1.0, 190.0), (2.0, 222.0)):
        chord = trunk_chord(straight_anatomy(fat=fat), FRAME, 0.0)
        # From 0.3 box heights down the trunk has its whole depth: 120 + 38 + 32 of fat, in mm.
        assert chord[70:100].max() == pytest.approx(depth, rel=0.01)
        assert_symmetric(chord)


def test_arms_stand_off_to_both_sides():
    near, far = (arm_chord(ANATOMY, FRAME, arm) for arm in (0.0, 1.0))
    assert_symmetric(near)
    # Arms that stand off leave the picture, whose edge is 125 mm from its middle.
    assert far.sum() < 0.8 * near.sum()
    assert near.max() == pytest.approx(2 * (34 + 9 + 6), rel=0.05)
    assert not near[np.abs(FRAME.x_mm) < 0.66 * 200 - 49].any()


def test_breasts_grow_and_are_sharp_below():
    small, large = (breast_chord(ANATOMY, FRAME, size) for size in (0.0, 1.0))
    assert_symmetric(large)
    assert small.max() <= 2 * 7 + 1e-3
    column = large[:, int(np.abs(FRAME.x_mm[0] + 0.27 * 200).argmin())]
    assert 2 * 14 < column.max() <= 2 * 20 + 1e-3
    steps = np.diff(column)
    assert -steps.min() > 1.5 * steps.max()


@pytest.mark.parametrize("left", [True, False])
def test_a_lung_has_depth_between_its_borders_only(left):
    chord = lung_chord(ANATOMY, FRAME, left)
    first, last = lung_borders(ANATOMY, left).at(FRAME.v)
    inside = (FRAME.u >= first) & (FRAME.u <= last) & (FRAME.v >= 0)
    assert not chord[~inside].any()
    assert 0.7 * 120 < chord.max() <= 120
    below = FRAME.v - diaphragm_height(ANATOMY, FRAME.u, left)
    assert not chord[below > 0.16].any()
    behind, lowest = (inside & (below > low) & (below < low + 0.03) for low in (0.02, 0.10))
    assert chord[behind].mean() > 2 * chord[lowest].mean() > 0


def test_the_heart_is_as_deep_as_wide_and_never_deeper_than_the_chest():
    inside = heart_borders(ANATOMY).contains(FRAME.u, FRAME.v)
    for width, deepest in ((0.7, 2 * 0.41 * 120), (0.2, 2 * 0.8 * 0.1 * 200)):
        chord = heart_chord(straight_anatomy(heart_width=width), FRAME)
        assert chord.max() == pytest.approx(deepest, rel=0.1)
        assert chord.max() <= deepest + 1e-3
    assert not heart_chord(ANATOMY, FRAME)[~inside].any()


def test_the_airway_follows_the_midline_and_forks():
    gas = airway_chord(ANATOMY, FRAME, 0.1)
    assert 1.25 * 15 < gas.max() <= 1.25 * 17
    upper = gas[np.abs(FRAME.v[:, 0] - 0.1).argmin()]
    assert FRAME.u[0, upper.argmax()] == pytest.approx(0.5 + 0.1, abs=0.02)
    lower = gas[np.abs(FRAME.v[:, 0] - 0.34).argmin()] > 0
    assert np.count_nonzero(np.diff(lower.astype(int)) == 1) == 2
    assert not gas[FRAME.v > 0.4].any()


def test_gas_lies_under_the_left_dome_of_two_patients_in_three():
    below = FRAME.v - diaphragm_height(ANATOMY, FRAME.u, True)
    for seed in range(12):
        gas = sample_stomach_gas(ANATOMY, FRAME, np.random.default_rng(seed))
        assert gas.any() == (np.random.default_rng(seed).random() >= 0.35)
        assert not gas[below <= 0.012].any()
        assert (FRAME.x_mm * gas).sum() >= 0
