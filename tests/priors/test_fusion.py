import numpy as np
import pytest

from medprior.priors.free_form import downsample_picture
from medprior.priors.fusion import compute_disagreement, compute_local_match, fuse_label_maps
from medprior.priors.local_correlation import VARIANCE_FLOOR
from medprior.priors.registration import Example, equalise_histogram, register_example
from medprior.priors.settings import RegistrationSettings

from .conftest import SIZE, noise, thorax


def test_fused_is_the_weighted_mean():
    rng = np.random.default_rng(0)
    layers = rng.random((3, 2, 8, 8)).astype(np.float32)
    matches = [rng.random((8, 8)) for _ in range(3)]
    twin = np.zeros((2, 8, 8))
    for y in range(8):
        for x in range(8):
            weight = np.array([m[y, x] ** 2 + 1e-3 for m in matches])
            twin[:, y, x] = (layers[:, :, y, x] * weight[:, None]).sum(0) / weight.sum()
    np.testing.assert_allclose(fuse_label_maps(layers, matches), twin, rtol=1e-5)
    np.testing.assert_array_equal(fuse_label_maps(layers[:1], []), layers[0])


def test_an_example_that_matches_here_speaks_louder_here():
    picture, masks = thorax(3)
    coverage = np.stack([m.astype(np.float32) for m in masks.values()])
    good = Example(picture, coverage)
    bad = Example(noise(), coverage)
    settings = RegistrationSettings()
    well, ill = (
        compute_local_match(picture, e, register_example(picture, e, "static", settings), SIZE) for e in (good, bad)
    )
    assert well.shape == (SIZE, SIZE)
    assert well[40:90, 30:100].mean() > 0.95
    assert ill[40:90, 30:100].mean() < 0.3


def test_disagreement():
    one = np.zeros((1, 1, 8, 8), np.float32)
    one[..., :4] = 1
    assert compute_disagreement(one) == 0
    assert compute_disagreement(np.concatenate([one, one])) == 0
    assert compute_disagreement(np.concatenate([one, one, np.roll(one, 2, -1)])) == pytest.approx(1 / 6)


def test_an_opposite_picture_matches_nowhere():
    """Its correlation of -1 must not become a weight of 1."""
    picture, masks = thorax(0)
    opposite = Example(1 - picture, masks["heart"][None].astype(np.float32))
    registration = register_example(picture, opposite, "static", RegistrationSettings())
    match = compute_local_match(picture, opposite, registration, 64)
    assert match.shape == (64, 64)
    assert match.max() == 0


def test_an_empty_map_counts_as_no_agreement():
    layers = np.zeros((2, 1, 4, 4), np.float32)
    assert compute_disagreement(layers) == 1
    layers[:, 0, :2, :2] = 1
    layers[1] = 0
    layers[0, 0, :2, :2] = 0.9  # the mean map is empty at one half
    assert compute_disagreement(layers) == 1


def test_a_match_is_the_correlation_of_windows_of_nine_pixels_at_half_the_size():
    """Every pixel by hand; a picture of fewer than 32 pixels is compared at 16."""
    pictures = [thorax(seed)[0][32:96, 32:96] for seed in (0, 3)]
    for picture, other, half in ((*pictures, 32), (pictures[0][:24, :24], pictures[1][:24, :24], 16)):
        example = Example(other, np.ones((1, 4, 4), np.float32))
        registration = register_example(picture, example, "static", RegistrationSettings())
        fixed, moved = (downsample_picture(equalise_histogram(one), half) for one in (picture, other))
        expected = np.zeros((half, half))
        for y in range(half):
            for x in range(half):
                window = np.s_[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5]
                f, m = fixed[window], moved[window]
                common = ((f - f.mean()) * (m - m.mean())).mean()
                spread = np.sqrt((f.var() + VARIANCE_FLOOR) * (m.var() + VARIANCE_FLOOR))
                expected[y, x] = min(max(common / spread, 0), 1)
        np.testing.assert_allclose(compute_local_match(picture, example, registration, half), expected, atol=1e-6)
