"""The statistics pass does not depend on how it is fed (methods 11, point 20)."""

import numpy as np
import pytest

from medprior.phantom import render_phantom
from medprior.priors.moments import Moments, accumulate_moments, standardise_pictures
from medprior.priors.settings import StatisticsSettings
from medprior.priors.statistics import find_lungs_and_heart


@pytest.fixture(scope="module")
def pictures():
    return np.stack([render_phantom(seed, size=96).pixels for seed in range(120)]).astype(np.float32)


def same(one, two):
    assert one.count == two.count
    for name in ("mean", "squares", "edge"):
        left, right = getattr(one, name), getattr(two, name)
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunks", [1, 7, 120])
def test_chunks_and_order_do_not_matter(pictures, chunks):
    whole = accumulate_moments([pictures])
    same(accumulate_moments(np.array_split(pictures, chunks)), whole)
    shuffled = pictures[np.random.default_rng(0).permutation(len(pictures))]
    same(accumulate_moments(np.array_split(shuffled, chunks)), whole)


def test_merging_is_a_tree_of_any_shape(pictures):
    parts = [Moments.of(standardise_pictures(p)) for p in np.array_split(pictures, 5)]
    a, b, c, d, e = parts
    same(a.merge(b).merge(c.merge(d).merge(e)), e.merge(d).merge(c).merge(b).merge(a))


def test_halves_find_the_same_regions(pictures):
    halves = [accumulate_moments([pictures[start::2]]) for start in (0, 1)]
    one, two = (find_lungs_and_heart(half, StatisticsSettings()) for half in halves)
    for name in ("left_lung", "right_lung"):
        overlap = (one[name] & two[name]).sum() / (one[name] | two[name]).sum()
        assert overlap > 0.85, name
