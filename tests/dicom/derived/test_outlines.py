"""Outlines of masks: filled again, they are the mask."""

import itertools

import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from scipy import ndimage

from medprior.dicom.derived.outlines import split_polyline, trace_outlines
from tests.dicom.object_sources import blob


def fill_outlines(outlines, shape) -> np.ndarray:
    """Pixels whose centres lie inside an odd number of the outlines."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    count = sum((Polygon(points).contains_points(centres).astype(int) for points in outlines), np.zeros(x.size, int))
    return (count % 2 == 1).reshape(shape)


def random_mask(seed: int) -> np.ndarray:
    """Blots with holes, some at the border."""
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(rng.normal(size=(60, 44)), 2) > 0.02


@pytest.mark.parametrize(
    "mask", [blob(), random_mask(1), random_mask(2), np.ones((5, 7), bool)], ids=["blob", "blots", "others", "whole"]
)
def test_filled_outlines_are_the_mask(mask):
    outlines = trace_outlines(mask)
    assert all(np.array_equal(points[0], points[-1]) for points in outlines)
    assert all(points.min() >= 0 and (points.max(axis=0) <= mask.shape[::-1]).all() for points in outlines)
    np.testing.assert_array_equal(fill_outlines(outlines, mask.shape), mask)


def test_a_straight_edge_needs_no_further_points():
    mask = np.zeros((400, 300), dtype=bool)
    mask[50:350, 40:200] = True
    (points,) = trace_outlines(mask)
    assert len(points) < 12


def test_pieces_of_a_polyline_join():
    points = np.arange(20.0).reshape(10, 2)
    pieces = split_polyline(points, 4)
    assert [len(piece) for piece in pieces] == [4, 4, 4]
    assert all(np.array_equal(before[-1], after[0]) for before, after in itertools.pairwise(pieces))
    assert np.array_equal(np.vstack([pieces[0], *(piece[1:] for piece in pieces[1:])]), points)
    assert len(split_polyline(points, 10)) == 1
