import numpy as np
import pytest

from medprior.metrics.overlap import compute_dice
from medprior.priors.deformation import Deformation, pixel_centres
from medprior.priors.free_form import downsample_picture, interpolate_bilinear
from medprior.priors.local_correlation import LocalCorrelation
from medprior.priors.registration import (
    Example,
    SimilarityScorer,
    equalise_histogram,
    is_plausible_deformation,
    register_example,
)
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


@pytest.mark.parametrize(
    ("deformation", "plausible"),
    [
        (Deformation(np.diag([0.5, 1.0])), True), (Deformation(np.diag([0.49, 1.0])), False),
        (Deformation(np.diag([1.0, 2.0])), True), (Deformation(np.diag([1.0, 2.01])), False),
        (Deformation(shift=np.array([0.6, 0.0])), True), (Deformation(shift=np.array([0.62, 0.0])), False),
        (Deformation(shift=np.array([0.0, -0.6])), True), (Deformation(shift=np.array([0.0, -0.62])), False),
    ],
)  # fmt: skip
def test_limits_of_scale_and_overlap(deformation, plausible):
    """Scales from 1/2 to 2; of 32 rows 13 lie inside the moving square at a shift of 0.6, 12 at 0.62."""
    assert is_plausible_deformation(deformation, RegistrationSettings(max_scale=2.0)) is plausible


def test_a_map_may_fold_in_exactly_the_allowed_share():
    folded = Deformation(control=np.random.default_rng(1).normal(0, 0.04, (2, 19, 19)))
    share = folded.folding_fraction(64)
    assert 0 < share < 0.5
    assert is_plausible_deformation(folded, RegistrationSettings(max_folding=share))
    assert not is_plausible_deformation(folded, RegistrationSettings(max_folding=share - 1e-6))


def test_pictures_are_compared_at_a_quarter_of_their_size():
    fixed, moving = equalise_histogram(thorax(3)[0]), equalise_histogram(thorax(0)[0])
    shifted = Deformation(shift=np.array([0.03, -0.02]))
    scorer = SimilarityScorer(fixed, moving)
    small = downsample_picture(fixed, 32)
    moved = interpolate_bilinear(downsample_picture(moving, 32), shifted.grid(32) * 32 - 0.5)[0]
    assert scorer(shifted) == LocalCorrelation(small, 3)(moved)[0]
    assert scorer.correlation(shifted) == pytest.approx(np.corrcoef(small.ravel(), moved.ravel())[0, 1])
    assert SimilarityScorer(fixed[:40, :40], moving[:40, :40]).size == 16
    assert SimilarityScorer(fixed, np.zeros_like(fixed)).correlation(shifted) == 0


def test_a_simpler_transformation_is_kept_where_the_next_is_refused():
    """Affine maps are refused by their scale, all but the identity by the least correlation."""
    (pixels, masks), other = thorax(0), thorax(5)[0]
    example = Example(pixels, masks["heart"][None].astype(np.float32))
    static = register_example(other, example, "static", SETTINGS)
    scorer = SimilarityScorer(equalise_histogram(other), example.equalised)
    assert (static.status, static.gain) == ("static", 0)
    assert static.local_correlation == scorer(Deformation())
    affine = register_example(other, example, "affine", SETTINGS)
    assert affine.status == "affine"
    assert affine.local_correlation == scorer(affine.deformation) > static.local_correlation
    assert affine.gain == pytest.approx(affine.local_correlation - static.local_correlation)
    assert affine.correlation == scorer.correlation(affine.deformation)
    for refused in ({"max_scale": 1.0001}, {"min_correlation": 1.0}):
        kept = register_example(other, example, "affine", RegistrationSettings(**refused))
        assert (kept.status, kept.gain, kept.local_correlation) == ("static", 0, static.local_correlation)
        np.testing.assert_array_equal(kept.deformation.matrix, np.eye(2))


def test_a_deformation_that_folds_is_tried_again_ten_times_stiffer():
    """Noise folds a tenth of the map, and nothing of it at ten times the bending energy."""
    pixels, masks = thorax(0)
    example = Example(pixels, masks["heart"][None].astype(np.float32))
    loose = RegistrationSettings(bending=1e-5, iterations=10, max_folding=1.0, min_correlation=-1)
    free, stiff, again = (
        register_example(noise(1), example, "deformable", loose.model_copy(update=update))
        for update in ({}, {"bending": 1e-4}, {"max_folding": 0.02})
    )
    assert free.deformation.folding_fraction(64) > 0.05
    assert again.status == "deformable"
    np.testing.assert_array_equal(again.deformation.control, stiff.deformation.control)
