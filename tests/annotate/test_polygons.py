"""Filled contours against their slow twin."""

import numpy as np

from medprior.annotate.polygons import fill_polygons
from tests.annotate.drawings import LEFT, POLYGONS, SHAPE, dice, inside


def test_polygons_are_filled_as_their_slow_twin_says():
    for points in (*POLYGONS.values(), [(3.25, 4.5), (40.75, 9.1), (20.2, 70.9)]):
        mask = fill_polygons([np.array(points)], SHAPE)
        assert dice(mask, inside(points)) > 0.985
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
