import numpy as np
import pytest

from medprior.metrics.overlap import compute_dice
from medprior.priors.deformation import Deformation, pixel_centres
from medprior.priors.registration import Example, is_plausible_deformation, register_example
from medprior.priors.settings import RegistrationSettings

from .conftest import SIZE, noise, thorax

SETTINGS = RegistrationSettings()


def test_a_picture_registers_to_itself_by_the_identity():
    pixels, masks = thorax(0)
    coverage = np.stack([mask.astype(np.float32) for mask in masks.values()])
    registration = register_example(pixels, Example(pixels, coverage), "deformable", SETTINGS)
    away = np.abs(registration.deformation.grid(SIZE) - pixel_centres(SIZE)).max() * SIZE
    assert away < 0.5
    assert registration.correlation > 0.99
    for layer, mask in zip(registration.deformation.sample(coverage, SIZE), masks.values(), strict=True):
        assert compute_dice(layer >= 0.5, mask) > 0.99


def test_each_rung_is_better_than_the_one_below():
    pixels, masks = thorax(0)
    coverage = np.stack([mask.astype(np.float32) for mask in masks.values()])
    example = Example(pixels, coverage)
    scores = {}
    for rung in ("static", "affine", "deformable"):
        scores[rung] = []
        for seed in range(1, 9):
            other, truth = thorax(seed)
            registration = register_example(other, example, rung, SETTINGS)
            layers = registration.deformation.sample(coverage, SIZE)
            scores[rung].append([compute_dice(a >= 0.5, b) for a, b in zip(layers, truth.values(), strict=True)])
    static, affine, deformable = (np.mean(scores[rung], axis=0) for rung in scores)
    assert (affine > static + 0.03).all()
    assert (deformable > affine).all()
    assert (deformable > 0.92).all()


@pytest.mark.parametrize("seed", range(3))
def test_noise_falls_back_to_the_static_prior(seed):
    pixels, masks = thorax(0)
    example = Example(pixels, np.stack(list(masks.values())).astype(np.float32))
    registration = register_example(noise(seed), example, "deformable", SETTINGS)
    assert registration.status == "static"
    assert registration.gain == 0
    np.testing.assert_array_equal(registration.deformation.grid(8), pixel_centres(8))


def test_a_flat_picture_falls_back_too():
    pixels, masks = thorax(0)
    example = Example(pixels, np.stack(list(masks.values())).astype(np.float32))
    registration = register_example(np.full((SIZE, SIZE), 0.5, np.float32), example, "deformable", SETTINGS)
    assert registration.status == "static"


def test_implausible_maps_are_refused():
    assert is_plausible_deformation(Deformation(), SETTINGS)
    assert not is_plausible_deformation(Deformation(np.eye(2) * 3), SETTINGS)
    assert not is_plausible_deformation(Deformation(np.diag([1.0, -1.0])), SETTINGS)
    assert not is_plausible_deformation(Deformation(shift=np.array([0.9, 0.0])), SETTINGS)
    folded = np.random.default_rng(0).normal(0, 0.2, (2, 19, 19))
    assert Deformation(control=folded).folding_fraction(64) > 0.1
    assert not is_plausible_deformation(Deformation(control=folded), SETTINGS)
