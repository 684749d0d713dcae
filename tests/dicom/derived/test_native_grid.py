"""Masks between the pixels of a file and the upright square pixels of its radiograph."""

import numpy as np
import pytest

from medprior.dicom import Radiograph
from medprior.dicom.derived.native_grid import NativeGrid

CORNER = np.array([[1, 0, 0], [0, 0, 0]], dtype=bool)


@pytest.mark.parametrize(
    ("turn", "position"), [("", (0, 0)), ("orientation_mirrored", (0, 2)), ("orientation_rotated", (1, 2))]
)
def test_a_mask_is_turned_as_the_file_was_and_back(turn, position):
    grid = NativeGrid((2, 3), (2, 3), turn)
    stored = grid.to_stored(CORNER)
    assert list(zip(*np.nonzero(stored), strict=True)) == [position]
    np.testing.assert_array_equal(grid.to_radiograph(stored), CORNER)


def test_a_stored_pixel_is_set_if_at_least_half_of_it_is_covered():
    grid = NativeGrid((1, 2), (4, 2))
    mask = np.array([[1, 1], [1, 0], [0, 0], [0, 0]], dtype=bool)
    assert grid.to_stored(mask).tolist() == [[True, False]]


def test_a_stored_pixel_covers_its_pixels_of_the_radiograph():
    grid = NativeGrid((2, 1), (4, 1), "orientation_rotated")
    assert grid.to_radiograph(np.array([[0], [1]], dtype=bool)).tolist() == [[True], [True], [False], [False]]


def test_colours_are_turned_with_their_pixels():
    colours = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    turned = NativeGrid((2, 2), (2, 2), "orientation_mirrored").reorient_pixels(colours)
    assert turned[0].tolist() == [[3, 4, 5], [0, 1, 2]]


def test_the_grid_of_a_radiograph_is_its_own_where_no_file_is_known():
    pixels, valid = np.zeros((4, 6), np.float32), np.ones((4, 6), bool)
    assert NativeGrid.from_radiograph(Radiograph(pixels, valid)) == NativeGrid((4, 6), (4, 6), "")
    turned = Radiograph(pixels, valid, flags=("derived", "orientation_rotated"), stored_rows=2, stored_cols=6)
    assert NativeGrid.from_radiograph(turned) == NativeGrid((2, 6), (4, 6), "orientation_rotated")


@pytest.mark.parametrize("turn", ["", "orientation_mirrored", "orientation_rotated"])
def test_points_go_where_the_pixels_around_them_go(turn):
    grid = NativeGrid((6, 8), (6, 16), turn)
    mask = np.zeros((6, 16), dtype=bool)
    mask[1, 2:4] = True  # the pixel whose corners are (2, 1) and (4, 2)
    ((row, column),) = np.argwhere(grid.to_stored(mask))
    corners = grid.points_to_stored(np.array([[2.0, 1.0], [4.0, 2.0]]))
    assert corners.min(axis=0).tolist() == [column, row]
    assert corners.max(axis=0).tolist() == [column + 1, row + 1]
