"""The collimated field and the side marker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medprior.phantom.collimation import Collimation, sample_collimation
from medprior.phantom.frame import build_thorax_frame
from medprior.phantom.outline import compute_structure_masks
from tests.phantom.thorax import anatomy_of


def test_field_never_cuts_the_lungs():
    for seed in range(60):
        anatomy = anatomy_of(seed)
        field = sample_collimation(anatomy, np.random.default_rng(seed)).field_mask(128, 128)
        frame = build_thorax_frame(replace(anatomy, roll=0.0), 128, 128)
        masks = compute_structure_masks(anatomy, frame.u, frame.v)
        assert field[masks["left_lung"] | masks["right_lung"]].all()


def test_the_field_begins_behind_each_border():
    field = Collimation(0.1, 0.2, 0.3, 0.0, "", 0, 0, 0.1).field_mask(10, 20)
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    assert rows.tolist() == list(range(1, 8))
    assert columns.tolist() == list(range(6, 20))
    assert field.sum() == 7 * 14


def test_a_marker_is_its_letter_around_its_middle():
    signal = np.zeros((100, 100), np.float32)
    marked = Collimation(0, 0, 0, 0, "L", 0.503, 0.403, 0.35).draw_marker(signal)
    y, x = np.nonzero(marked)
    # Seven units of 5 pixels high and five wide: a bar of six units on a foot of five.
    assert [y.min(), y.max(), x.min(), x.max(), len(y)] == [23, 57, 38, 62, 11 * 25]
    assert marked[31, 40] == marked[55, 60] == np.float32(0.97)
    assert marked[31, 60] == 0
    assert not signal.any()


def test_a_marker_keeps_its_proportions_on_an_oblong_image():
    marked = Collimation(0, 0, 0, 0, "R", 0.5, 0.5, 0.35).draw_marker(np.zeros((100, 60), np.float32))
    y, x = np.nonzero(marked)
    assert np.ptp(y) + 1 == pytest.approx(35, abs=1)
    assert np.ptp(x) + 1 == pytest.approx(25, abs=1)


def test_an_image_without_a_marker_stays_as_it_is():
    signal = np.zeros((4, 4), np.float32)
    assert Collimation(0, 0, 0, 0, "", 0.5, 0.5, 0.35).draw_marker(signal) is signal


def test_markers_stand_on_their_patients_side_above_the_middle():
    seen = set()
    for seed in range(40):
        collimation = sample_collimation(anatomy_of(seed), np.random.default_rng(seed))
        seen.add(collimation.marker)
        assert max(collimation.top, collimation.bottom, collimation.left, collimation.right) <= 0.09
        assert collimation.top < collimation.marker_y < 0.3
        if collimation.marker:
            assert (collimation.marker_x > 0.5) == (collimation.marker == "L")
            assert collimation.left < collimation.marker_x < 1 - collimation.right
    assert seen == {"L", "R", ""}
