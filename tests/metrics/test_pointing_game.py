import numpy as np
import pytest

from medprior.metrics.pointing_game import compute_energy_pointing, compute_pointing_game, dilate_mask


@pytest.fixture
def square():
    mask = np.zeros((20, 20), bool)
    mask[4:8, 10:14] = True
    return mask


def peak(y, x):
    one = np.full((20, 20), 0.1, np.float32)
    one[y, x] = 1
    return one


def test_pointing_hits_inside_and_within_the_tolerance(square):
    maps = np.stack([peak(5, 11), peak(8, 11), peak(9, 11), peak(15, 2)])
    assert compute_pointing_game(maps, square[None], 0).ravel().tolist() == [1, 0, 0, 0]
    assert compute_pointing_game(maps, square[None], 0.05).ravel().tolist() == [1, 1, 0, 0]
    assert compute_pointing_game(maps, square[None], 0.1).ravel().tolist() == [1, 1, 1, 0]


def test_a_flat_map_scores_what_blind_pointing_would(square):
    flat = np.ones((1, 20, 20), np.float32)
    wide = dilate_mask(square, 0.05)
    assert wide.sum() > square.sum()
    assert compute_pointing_game(flat, square[None], 0.05)[0, 0] == pytest.approx(wide.mean())
    assert compute_energy_pointing(flat, square[None])[0, 0] == pytest.approx(square.mean())


def test_energy_is_the_share_inside(square):
    rng = np.random.default_rng(0)
    maps = rng.random((3, 20, 20)).astype(np.float32)
    masks = np.stack([square, ~square])
    slow = [[one[mask].sum() / one.sum() for mask in masks] for one in maps]
    np.testing.assert_allclose(compute_energy_pointing(maps, masks), slow, rtol=1e-6)
    np.testing.assert_allclose(compute_energy_pointing(maps, masks).sum(axis=1), 1)


def test_no_finding_is_unknown_and_no_map_a_miss(square):
    nothing = np.zeros((1, 20, 20), np.float32)
    empty = np.zeros((1, 20, 20), bool)
    assert np.isnan(compute_pointing_game(nothing, empty, 0.1)).all()
    assert np.isnan(compute_energy_pointing(nothing, empty)).all()
    assert compute_pointing_game(nothing, square[None], 0.1)[0, 0] == 0
    assert compute_energy_pointing(nothing, square[None])[0, 0] == 0
