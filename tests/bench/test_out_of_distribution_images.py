"""Drawn oddities."""

import numpy as np

from medprior.bench.out_of_distribution_images import CHEST_CHANGES, SYNTHETIC_ODDITIES, create_oddities
from medprior.phantom import render_phantom


def test_oddities_are_pictures_and_the_same_for_the_same_seed():
    chests = [render_phantom(seed, size=96).pixels for seed in (1, 2)]
    found = create_oddities(chests, 0, 96)
    assert set(found) == {*CHEST_CHANGES, *SYNTHETIC_ODDITIES}
    for kind, pictures in found.items():
        assert len(pictures) == 2, kind
        for picture in pictures:
            assert picture.shape == (96, 96), kind
            assert picture.dtype == np.float32, kind
            assert 0 <= picture.min() < picture.max() <= 1, kind
    again = create_oddities(chests, 0, 96)
    assert all(np.array_equal(found[k][1], again[k][1]) for k in found)
    assert not np.array_equal(found["hand"][0], found["hand"][1])
