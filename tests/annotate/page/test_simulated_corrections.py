"""The simulated person of the drawing page's measurement."""

import numpy as np

from medprior.annotate.page.mask_editing import trace_contours
from medprior.metrics.overlap import compute_dice
from tests.annotate.page.simulated_corrections import TrueBorder, correct_mask


def disc(x, y, radius, side=200):
    rows, columns = np.mgrid[:side, :side] + 0.5
    return np.hypot(columns - x, rows - y) <= radius


def test_only_points_far_from_the_border_are_moved_onto_it():
    truth = disc(100, 100, 50)
    kept, moved = correct_mask(disc(100, 100, 51), truth)
    assert moved == 0
    assert compute_dice(kept, disc(100, 100, 51)) > 0.97
    shifted = disc(112, 100, 50)
    corrected, moved = correct_mask(shifted, truth)
    assert 0 < moved < len(trace_contours(shifted, (200, 200))[0])
    assert compute_dice(corrected, truth) > 0.95 > compute_dice(shifted, truth)


def test_a_structure_that_was_not_found_is_drawn():
    truth = disc(80, 90, 30)
    corrected, points = correct_mask(np.zeros((200, 200), dtype=bool), truth)
    assert compute_dice(corrected, truth) == 1
    assert points == len(trace_contours(truth, (200, 200))[0])


def test_distances_are_from_the_border_on_both_sides():
    border = TrueBorder(disc(100, 100, 50))
    assert abs(border.distance((100.5, 100.5)) - 50) < 2
    assert abs(border.distance((170, 100)) - 20) < 1.5
    x, y = border.nearest((170, 100))
    assert abs(x - 150) < 1.5
    assert abs(y - 100) < 2
