"""Chords against volumes and against sums over thin slices."""

from __future__ import annotations

import numpy as np
import pytest

from medprior.phantom.anatomy import sample_anatomy, sample_patient
from medprior.phantom.frame import build_thorax_frame
from medprior.phantom.shapes import (
    Capsule,
    compute_bounding_slices,
    ellipsoid_chord,
    rasterize_capsules,
    smooth_step,
    superellipse_chord,
)
from tests.phantom.thorax import straight_anatomy, straight_frame


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    return build_thorax_frame(sample_anatomy(sample_patient(rng), False, rng), 300, 280)


def test_ellipsoid_chords_sum_to_its_volume(frame):
    chord = ellipsoid_chord(frame, (10.0, 120.0), (40.0, 25.0, 30.0), 0.4)
    volume = chord.sum() * frame.pixel_mm**2
    assert volume == pytest.approx(4 / 3 * np.pi * 40 * 25 * 30, rel=0.01)


def test_capsule_chords_sum_to_its_volume(frame):
    canvas = np.zeros_like(frame.u)
    rasterize_capsules(canvas, frame, [Capsule(-40, 60, 30, 150, 9, 9)])
    length = np.hypot(70, 90)
    volume = np.pi * 81 * length + 4 / 3 * np.pi * 729
    assert canvas.sum() * frame.pixel_mm**2 == pytest.approx(volume, rel=0.01)


def test_window_holds_the_box(frame):
    rows, cols = compute_bounding_slices(frame, (-30, 20), (50, 90))
    inside = (abs(frame.x_mm + 5) <= 25) & (abs(frame.y_mm - 70) <= 20)
    outside = inside.copy()
    outside[rows, cols] = False
    assert inside.any()
    assert not outside.any()
    assert inside[rows, cols].mean() > 0.5


@pytest.mark.parametrize("power", [2.0, 2.8])
def test_superellipse_against_thin_slices(power):
    offset = np.array([0.0, 0.3, 0.8, 1.0], np.float32)
    depth = np.linspace(-1.2, 1.2, 200_001)
    for x, chord in zip(offset, superellipse_chord(offset, 5.0, power), strict=True):
        inside = np.abs(x) ** power + np.abs(depth) ** power <= 1
        assert chord == pytest.approx(5 * inside.sum() * (depth[1] - depth[0]), abs=2e-3)


def test_smoothstep_in_both_directions():
    value = np.array([0.0, 1.0, 1.5, 2.0, 3.0], np.float32)
    assert smooth_step(1, 2, value) == pytest.approx([0, 0, 0.5, 1, 1])
    assert smooth_step(2, 1, value) == pytest.approx([1, 1, 0.5, 0, 0])


def test_a_turned_ellipsoid_leans_clockwise_in_the_picture():
    straight = straight_frame(straight_anatomy(), 100)
    chord = ellipsoid_chord(straight, (0.0, 100.0), (60.0, 10.0, 5.0), 0.5)
    x, y = straight.x_mm, straight.y_mm - 100
    assert chord.max() == pytest.approx(10, abs=0.1)
    # Its long axis runs down to the right: x and y rise together.
    assert (chord * x * y).sum() / (chord * x * x).sum() == pytest.approx(np.tan(0.5), abs=0.03)


def test_a_capsule_that_narrows_is_widest_at_its_first_end():
    straight = straight_frame(straight_anatomy(), 100)
    canvas = np.zeros_like(straight.u)
    rasterize_capsules(canvas, straight, [Capsule(-60, 100, 60, 100, 20, 10), Capsule(900, 0, 950, 0, 5, 5)])
    row = int(np.abs(straight.y_mm[:, 0] - 100).argmin())
    for x, chord in ((-60, 40), (0, 30), (60, 20)):
        assert canvas[row, int(np.abs(straight.x_mm[0] - x).argmin())] == pytest.approx(chord, abs=0.6)


def test_overlapping_capsules_count_once():
    straight = straight_frame(straight_anatomy(), 60)
    once, twice = np.zeros_like(straight.u), np.zeros_like(straight.u)
    rod = Capsule(-20, 90, 30, 120, 8, 8)
    rasterize_capsules(once, straight, [rod])
    rasterize_capsules(twice, straight, [rod, rod])
    assert np.array_equal(once, twice)
