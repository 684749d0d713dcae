"""Levels: looked up and summed up as if every pixel were worked on by itself."""

import numpy as np
import pytest

from medprior.dicom.display.levels import GreyLevels

RNG = np.random.default_rng(11)
TABLES = {
    "rising": lambda n: np.linspace(-3, 7, n, dtype=np.float32),
    "falling": lambda n: np.linspace(7, -3, n, dtype=np.float32),
    "neither": lambda n: RNG.random(n, dtype=np.float32),
}


def cells(dtype, top=4095):
    return RNG.integers(7, top + 1, (700, 900)).astype(dtype)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("masks", [0, 1, 2])
def test_tables_act_as_on_every_pixel(dtype, table, masks):
    picture = cells(dtype)
    # Alone at both ends, and left out by every mask: the extremes must not see them.
    picture[0, :2] = 0, 4095
    levels, valid = GreyLevels(picture), np.ones(picture.shape, bool)
    for _ in range(masks):
        part = RNG.random(picture.shape) > 0.5
        part[0, :2] = False
        levels.mask(part)
        valid &= part
    entries = TABLES[table](levels.count)
    whole = entries[picture.astype(int)]
    np.testing.assert_array_equal(levels.apply_table(entries), whole)
    assert levels.extremes(entries) == (whole[valid].min(), whole[valid].max())


def test_a_mask_that_leaves_nothing():
    levels = GreyLevels(cells("u1", 255))
    levels.mask(np.zeros((700, 900), bool))
    assert levels.extremes(np.arange(256, dtype=np.float32)) == (np.inf, -np.inf)


def test_extremes_of_a_table_that_is_not_monotone_are_of_levels_that_occur():
    levels = GreyLevels(np.array([[0, 2], [4, 2]], dtype=np.uint8))
    table = np.array([5.0, 99.0, 1.0, -99.0, 3.0])
    assert levels.extremes(table) == (1, 5)
    levels.mask(np.array([[False, True], [True, True]]))
    assert levels.extremes(table) == (1, 3)
    levels.mask(np.array([[True, False], [True, False]]))
    assert levels.extremes(table) == (3, 3)


def test_first_and_last_are_valid_cells_and_a_full_mask_changes_nothing():
    levels = GreyLevels(np.array([[7, 1], [3, 9]], dtype=np.uint16))
    levels.mask(np.ones((2, 2), bool))
    assert (levels.first, levels.last, levels.count, levels.valid) == (1, 9, 10, None)
    levels.mask(np.array([[True, False], [True, False]]))
    assert (levels.first, levels.last, levels.count) == (3, 7, 10)
    levels.mask(np.array([[False, True], [False, True]]))
    assert levels.first > levels.last
