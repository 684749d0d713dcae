import numpy as np
import pytest

from medprior.priors.moments import Moments, accumulate_moments, standardise_pictures

PICTURES = np.random.default_rng(3).random((50, 12, 12), dtype=np.float32)


def test_moments_are_those_of_numpy():
    values = PICTURES.astype(np.float64)
    moments = Moments.of(values)
    np.testing.assert_allclose(moments.mean, values.mean(axis=0))
    np.testing.assert_allclose(moments.deviation, values.std(axis=0))
    edges = [np.hypot(*np.gradient(picture)) for picture in values]
    np.testing.assert_allclose(moments.edge, np.mean(edges, axis=0))


@pytest.mark.parametrize("cuts", [[25], [1, 2, 3], [7, 20, 49], range(1, 50)])
def test_batches_and_order_do_not_matter(cuts):
    whole = accumulate_moments([PICTURES])
    parts = accumulate_moments(np.split(PICTURES, list(cuts)))
    back = accumulate_moments(np.split(PICTURES[::-1], list(cuts)))
    for other in (parts, back):
        assert other.count == 50
        for name in ("mean", "squares", "edge"):
            np.testing.assert_allclose(getattr(other, name), getattr(whole, name), rtol=1e-10, atol=1e-12)


def test_merging_keeps_small_deviations_on_a_large_mean():
    values = 1e8 + np.random.default_rng(0).normal(0, 1e-2, (400, 2, 2))
    total = Moments.of(values[:100]).merge(Moments.of(values[100:]))
    np.testing.assert_allclose(total.deviation, values.std(axis=0), rtol=1e-6)


def test_exposure_does_not_count():
    bright = PICTURES * 0.5 + 0.4
    np.testing.assert_allclose(standardise_pictures(bright), standardise_pictures(PICTURES), atol=1e-5)
    assert np.isfinite(standardise_pictures(np.full((1, 8, 8), 0.3, np.float32))).all()


def test_each_picture_is_clipped_at_its_own_percentiles():
    """Every value of two pictures of other ranges, one after another."""
    pictures = np.stack([PICTURES[0] ** 3, 5 - 2 * PICTURES[1]])
    for picture, standardised in zip(pictures.astype(np.float64), standardise_pictures(pictures), strict=True):
        clipped = np.clip(picture, np.percentile(picture, 1), np.percentile(picture, 99))
        np.testing.assert_allclose(standardised, (clipped - clipped.mean()) / clipped.std(), atol=1e-9)


def same(one, two):
    assert one.count == two.count
    for name in ("mean", "squares", "edge"):
        left, right = getattr(one, name), getattr(two, name)
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunks", [1, 7, 120])
def test_chunks_and_order_do_not_matter(phantoms, chunks):
    whole = accumulate_moments([phantoms])
    same(accumulate_moments(np.array_split(phantoms, chunks)), whole)
    shuffled = phantoms[np.random.default_rng(0).permutation(len(phantoms))]
    same(accumulate_moments(np.array_split(shuffled, chunks)), whole)


def test_merging_is_a_tree_of_any_shape(phantoms):
    parts = [Moments.of(standardise_pictures(p)) for p in np.array_split(phantoms, 5)]
    a, b, c, d, e = parts
    same(a.merge(b).merge(c.merge(d).merge(e)), e.merge(d).merge(c).merge(b).merge(a))


def test_the_brightest_hundredth_does_not_count():
    pictures = np.random.default_rng(1).random((1, 20, 20), dtype=np.float32)
    marked = pictures.copy()
    top = np.argsort(pictures, axis=None)[-3:]
    marked.flat[top] = [50, 60, 70]
    standardised = standardise_pictures(marked)
    np.testing.assert_allclose(standardised, standardise_pictures(pictures), atol=1e-6)
    assert standardised.mean() == pytest.approx(0, abs=1e-12)
    assert standardised.std() == pytest.approx(1)


def test_moments_of_two_numbers():
    ones = Moments.of(np.full((1, 2, 2), 1.0))
    total = ones.merge(Moments.of(np.full((3, 2, 2), 5.0)))
    assert total.count == 4
    assert (total.mean == 4).all()
    assert (total.squares == 12).all()  # 9 + 3 * 1
    assert total.deviation[0, 0] == pytest.approx(3**0.5)


def test_no_pictures_are_refused():
    with pytest.raises(ValueError, match="no pictures"):
        accumulate_moments([])
