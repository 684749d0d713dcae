"""Filled contours against their slow twin."""

import numpy as np
import pytest

from medprior.annotate.polygons import fill_polygons, parse_ring
from medprior.errors import MedpriorError
from medprior.metrics.overlap import compute_dice
from tests.annotate.drawings import LEFT, POLYGONS, SHAPE, inside


def test_polygons_are_filled_as_their_slow_twin_says():
    for points in (*POLYGONS.values(), [(3.25, 4.5), (40.75, 9.1), (20.2, 70.9)]):
        mask = fill_polygons([np.array(points)], SHAPE)
        assert compute_dice(mask, inside(points)) > 0.985
        x, y = np.array(points).T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        assert abs(mask.sum() - area) < 0.01 * area
    large = np.array(LEFT) * 20
    area = 400 * inside(LEFT).sum()
    assert abs(fill_polygons([large], (2400, 1800)).sum() - area) < 0.01 * area
    box = np.array([(2.0, 3.0), (7.0, 3.0), (7.0, 5.0), (2.0, 5.0)])
    assert np.argwhere(fill_polygons([box], SHAPE)).tolist() == [[y, x] for y in (3, 4) for x in range(2, 7)]
    assert fill_polygons([box - 4.0], SHAPE).sum() == 3
    assert not fill_polygons([box + 500.0], SHAPE).any()


def rectangle(left, top, right, bottom):
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def test_a_pixel_is_inside_from_half_of_its_area():
    assert fill_polygons([rectangle(0, 0, 1.75, 1)], (1, 3)).tolist() == [[True, True, False]]
    assert fill_polygons([rectangle(0, 0, 1.25, 1)], (1, 3)).tolist() == [[True, False, False]]


def test_contours_unite_and_do_not_add_up():
    parts = [rectangle(1, 0, 1.3, 1), rectangle(1.5, 0, 1.8, 1), rectangle(2, 0, 3, 1)]
    assert fill_polygons(parts, (1, 3)).tolist() == [[False, False, True]]


def test_tall_contours_have_no_seam_between_strips():
    mask = fill_polygons([rectangle(1, 3, 4, 133)], (140, 6))
    assert mask.sum() == 3 * 130
    assert mask[3:133, 1:4].all()


def test_a_contour_is_cut_at_the_picture():
    mask = fill_polygons([rectangle(-5, -5, 2, 1), rectangle(4, 2, 99, 99)], (3, 6))
    assert np.argwhere(mask).tolist() == [[0, 0], [0, 1], [2, 4], [2, 5]]


def test_a_ring_has_three_finite_points_of_two_coordinates():
    assert parse_ring([(0, 0), (1e6, 0), (0, -1e6)], "x").shape == (3, 2)
    for points, words in (
        ([(0, 0), (1, 1)], r"2 point\(s\)"),
        ([(0, 0), (1, 1), (np.nan, 0)], "closed contour"),
        ([(0, 0), (1, 1), (1.1e6, 0)], "closed contour"),
        ([(0, 0, 0)] * 3, "closed contour"),
        ([(0, 0), (1, 1), (2,)], "closed contour"),
        ([("a", 0)] * 3, "closed contour"),
    ):
        with pytest.raises(MedpriorError, match=words):
            parse_ring(points, "x")
