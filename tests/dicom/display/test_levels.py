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
