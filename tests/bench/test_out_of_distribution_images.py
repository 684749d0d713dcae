"""Drawn oddities."""

import numpy as np

from medprior.bench.out_of_distribution_images import (
    CHEST_CHANGES,
    SYNTHETIC_ODDITIES,
    compute_coordinate_grid,
    compute_oval_thickness,
    compute_rod_thickness,
    create_out_of_distribution_pictures,
    shrink_to_child,
)
from medprior.phantom import render_phantom


def test_oddities_are_pictures_and_the_same_for_the_same_seed():
    chests = [render_phantom(seed, size=96).pixels for seed in (1, 2)]
    oddities = create_out_of_distribution_pictures(chests, 0, 96)
    assert set(oddities) == {*CHEST_CHANGES, *SYNTHETIC_ODDITIES}
    for kind, pictures in oddities.items():
        assert len(pictures) == 2, kind
        for picture in pictures:
            assert picture.shape == (96, 96), kind
            assert picture.dtype == np.float32, kind
            assert 0 <= picture.min() < picture.max() <= 1, kind
    again = create_out_of_distribution_pictures(chests, 0, 96)
    assert all(np.array_equal(oddities[k][1], again[k][1]) for k in oddities)
    assert not np.array_equal(oddities["hand"][0], oddities["hand"][1])


def test_coordinates_are_those_of_pixel_centres():
    y, x = compute_coordinate_grid(4)
    assert y[:, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert x[0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert y[0].tolist() == [-0.75] * 4


def test_a_rod_is_round_and_ends_where_it_should():
    # Pixel centres at -0.8, -0.4, 0, 0.4, 0.8: a rod along x at y = 0 from 0 to 0.4, as wide as 0.5.
    rod = compute_rod_thickness(5, (0.0, 0.0, 0.4, 0.0), width=0.5, depth=2.0)
    np.testing.assert_allclose(rod[2], [0, 1.2, 2, 2, 1.2], atol=1e-9)
    np.testing.assert_allclose(rod[:, 3], [0, 1.2, 2, 1.2, 0], atol=1e-9)


def test_an_oval_is_wider_across_than_down():
    oval = compute_oval_thickness(5, (0.0, 0.4), (1.0, 0.5), depth=2.0)
    np.testing.assert_allclose(oval[3], [1.2, 2 * np.sqrt(0.84), 2, 2 * np.sqrt(0.84), 1.2], atol=1e-9)
    np.testing.assert_allclose(oval[:, 2], [0, 0, 1.2, 2, 1.2], atol=1e-9)


def test_chests_are_altered_as_the_name_says():
    rng = np.random.default_rng(0)
    chest = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(CHEST_CHANGES["rotated 180"](chest, rng), chest[::-1, ::-1])
    assert CHEST_CHANGES["rotated 90"](chest, rng)[0, 0] in (chest[0, -1], chest[-1, 0])
    np.testing.assert_allclose(CHEST_CHANGES["inverted"](chest, rng) + chest, 1)
    assert (CHEST_CHANGES["too dark"](chest, rng)[chest > 0] < chest[chest > 0]).all()
    over = CHEST_CHANGES["overexposed"](chest, rng)
    assert (over[0, 0], over[-1, -1]) == (0.25, 1)
    small = shrink_to_child(np.ones((40, 60), np.float32), rng)
    assert small.shape == (40, 60)
    assert not small[:9].any()
    assert not small[-9:].any()
    assert not small[:, :14].any()
    assert 0.35**2 * 0.9 < small.mean() < 0.5**2 * 1.1
