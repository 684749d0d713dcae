import numpy as np
import pytest

from medprior.priors.soft_maps import build_static_maps, soften_maps


def test_the_blur_is_in_percent_of_the_side():
    """A single pixel becomes a Gaussian of 5 % of 64 pixels: a variance of 3.2 squared."""
    coverage = np.zeros((64, 64), np.float32)
    coverage[32, 32] = 1
    soft = soften_maps(coverage, 5)
    distance = np.arange(64) - 32
    assert soft.sum() == pytest.approx(1, rel=1e-3)
    assert (soft.sum(axis=0) * distance**2).sum() == pytest.approx(3.2**2, rel=0.02)
    assert (soft.sum(axis=1) * distance**2).sum() == pytest.approx(3.2**2, rel=0.02)
    assert soft.dtype == np.float32


def test_structures_do_not_run_into_each_other_and_nothing_comes_from_outside():
    coverage = np.stack([np.ones((20, 20)), np.zeros((20, 20))]).astype(np.float32)
    soft = soften_maps(coverage, 5)
    assert not soft[1].any()
    assert soft[0, 10, 10] == pytest.approx(1, abs=1e-6)
    assert soft[0, 10, 0] == pytest.approx(0.7, abs=0.01)  # 1/2 and half the weight of the pixel itself
    np.testing.assert_array_equal(soften_maps(coverage, 0), coverage)


def test_static_maps_are_the_softened_masks(drawing):
    maps = build_static_maps(drawing, 32, 2.5)
    np.testing.assert_array_equal(maps, soften_maps(drawing.coverage(32), 2.5))
    assert maps.shape == (3, 32, 32)
