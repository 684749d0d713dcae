import numpy as np
import pytest
from scipy import optimize

from medprior.metrics.overlap import compute_dice
from medprior.priors.deformation import Deformation, pixel_centres, spline_basis
from medprior.priors.free_form import FreeFormCost, interpolate_bilinear
from medprior.priors.local_correlation import VARIANCE_FLOOR, LocalCorrelation
from medprior.priors.mutual_information import register_affine
from medprior.priors.registration import Example, equalise_histogram, is_plausible_deformation, register_example
from medprior.priors.settings import RegistrationSettings

from .conftest import SIZE, noise, thorax

SETTINGS = RegistrationSettings()


def slow_local_correlation(fixed, moved, radius):
    values = []
    for y in range(len(fixed)):
        for x in range(len(fixed)):
            window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            f, m = fixed[window].ravel(), moved[window].ravel()
            common = ((f - f.mean()) * (m - m.mean())).mean()
            values.append(common**2 / ((f.var() + VARIANCE_FLOOR) * (m.var() + VARIANCE_FLOOR)))
    return np.mean(values)


def test_local_correlation_is_the_slow_one_and_its_gradient_is_exact():
    rng = np.random.default_rng(0)
    fixed, moved = rng.random((2, 12, 12))
    measure = LocalCorrelation(fixed, 2)
    value, gradient = measure(moved)
    assert value == pytest.approx(slow_local_correlation(fixed, moved, 2), rel=1e-9)
    found = optimize.approx_fprime(moved.ravel(), lambda flat: measure(flat.reshape(12, 12))[0], 1e-7).reshape(12, 12)
    np.testing.assert_allclose(gradient, found, atol=1e-6)


def test_local_correlation_is_blind_to_brightness_and_contrast():
    fixed, moved = np.random.default_rng(1).random((2, 20, 20))
    measure = LocalCorrelation(fixed, 3)
    assert measure(-3 * fixed + 1)[0] > 0.99
    assert measure(moved)[0] == pytest.approx(measure(5 * moved - 2)[0], abs=2e-3)


def test_bilinear_values_and_slopes():
    image = np.random.default_rng(2).random((9, 7))
    at = np.random.default_rng(3).uniform(0.1, 5.9, (2, 4, 4))
    values, slopes = interpolate_bilinear(image, at)
    step = 1e-7
    for axis in (0, 1):
        shifted = at.copy()
        shifted[axis] += step
        np.testing.assert_allclose((interpolate_bilinear(image, shifted)[0] - values) / step, slopes[axis], atol=1e-5)
    ends = np.array([[[-4.0, 8.0]], [[0.0, 6.0]]])
    np.testing.assert_array_equal(interpolate_bilinear(image, ends)[0], [[image[0, 0], image[8, 6]]])


def test_cost_of_the_free_form_has_an_exact_gradient():
    rng = np.random.default_rng(4)
    settings = RegistrationSettings(mesh=3, radius=2, bending=0.01)
    start = Deformation(np.array([[1.1, 0.05], [-0.1, 0.9]]), np.array([0.02, -0.03]))
    cost = FreeFormCost(rng.random((16, 16)), rng.random((16, 16)), start, settings)
    at = rng.normal(0, 0.01, 72)
    found = optimize.approx_fprime(at, lambda flat: cost(flat)[0], 1e-8)
    np.testing.assert_allclose(cost(at)[1], found, atol=2e-5)


def test_splines_sum_to_one_and_bending_ignores_affine_maps():
    basis = spline_basis(40, 6)
    np.testing.assert_allclose(basis.sum(axis=1), 1)
    cost = FreeFormCost(noise()[:16, :16], noise()[:16, :16], Deformation(), RegistrationSettings(mesh=6))
    line = np.arange(9.0)
    control = np.stack([np.tile(line, (9, 1)), np.tile(line[:, None], (1, 9)) + 3])
    energy, force = cost.bending(control)
    assert energy == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(force, 0, atol=1e-9)


def test_an_affine_deformation_samples_where_it_says():
    maps = np.zeros((1, 64, 64), np.float32)
    maps[0, 16:32, 8:24] = 1
    # Looking a quarter of a side further down and right brings things up and left.
    moved = Deformation(shift=np.array([0.25, 0.125])).sample(maps, 64)
    expected = np.zeros_like(maps)
    expected[0, 0:16, 0:16] = 1
    np.testing.assert_allclose(moved, expected, atol=1e-6)
    # Looking at half the extent enlarges the middle twofold.
    middle = np.zeros((1, 64, 64), np.float32)
    middle[0, 24:40, 24:40] = 1
    twice = Deformation(matrix=np.eye(2) * 0.5).sample(middle, 64)
    assert twice[0, 17:47, 17:47].min() == 1
    assert twice.sum() == pytest.approx(4 * middle.sum(), rel=1e-5)


def test_a_picture_registers_to_itself_by_the_identity():
    pixels, masks = thorax(0)
    coverage = np.stack([mask.astype(np.float32) for mask in masks.values()])
    found = register_example(pixels, Example(pixels, coverage), "deformable", SETTINGS)
    away = np.abs(found.deformation.grid(SIZE) - pixel_centres(SIZE)).max() * SIZE
    assert away < 0.5
    assert found.correlation > 0.99
    for layer, mask in zip(found.deformation.sample(coverage, SIZE), masks.values(), strict=True):
        assert compute_dice(layer >= 0.5, mask) > 0.99


def test_mutual_information_finds_a_known_affine_map():
    moving = equalise_histogram(thorax(0)[0])
    truth = Deformation(np.array([[1.08, 0.03], [-0.02, 0.92]]), np.array([0.04, -0.03]))
    fixed = interpolate_bilinear(moving, truth.grid(SIZE) * SIZE - 0.5)[0]
    found = register_affine(fixed, moving, SETTINGS)
    away = np.abs(found.grid(SIZE) - truth.grid(SIZE)).max() * SIZE
    assert away < 1.5


def test_the_affine_map_is_the_same_every_time():
    fixed, moving = equalise_histogram(thorax(4)[0]), equalise_histogram(thorax(0)[0])
    found = [register_affine(fixed, moving, SETTINGS) for _ in range(4)]
    for other in found[1:]:
        np.testing.assert_array_equal(other.matrix, found[0].matrix)
        np.testing.assert_array_equal(other.shift, found[0].shift)


def test_each_rung_is_better_than_the_one_below():
    pixels, masks = thorax(0)
    coverage = np.stack([mask.astype(np.float32) for mask in masks.values()])
    example = Example(pixels, coverage)
    scores = {}
    for rung in ("static", "affine", "deformable"):
        scores[rung] = []
        for seed in range(1, 9):
            other, truth = thorax(seed)
            found = register_example(other, example, rung, SETTINGS)
            layers = found.deformation.sample(coverage, SIZE)
            scores[rung].append([compute_dice(a >= 0.5, b) for a, b in zip(layers, truth.values(), strict=True)])
    static, affine, deformable = (np.mean(scores[rung], axis=0) for rung in scores)
    assert (affine > static + 0.03).all()
    assert (deformable > affine).all()
    assert (deformable > 0.92).all()


@pytest.mark.parametrize("seed", range(3))
def test_noise_falls_back_to_the_static_prior(seed):
    pixels, masks = thorax(0)
    example = Example(pixels, np.stack(list(masks.values())).astype(np.float32))
    found = register_example(noise(seed), example, "deformable", SETTINGS)
    assert found.status == "static"
    assert found.gain == 0
    np.testing.assert_array_equal(found.deformation.grid(8), pixel_centres(8))


def test_a_flat_picture_falls_back_too():
    pixels, masks = thorax(0)
    example = Example(pixels, np.stack(list(masks.values())).astype(np.float32))
    found = register_example(np.full((SIZE, SIZE), 0.5, np.float32), example, "deformable", SETTINGS)
    assert found.status == "static"


def test_implausible_maps_are_refused():
    assert is_plausible_deformation(Deformation(), SETTINGS)
    assert not is_plausible_deformation(Deformation(np.eye(2) * 3), SETTINGS)
    assert not is_plausible_deformation(Deformation(np.diag([1.0, -1.0])), SETTINGS)
    assert not is_plausible_deformation(Deformation(shift=np.array([0.9, 0.0])), SETTINGS)
    folded = np.random.default_rng(0).normal(0, 0.2, (2, 19, 19))
    assert Deformation(control=folded).folding_fraction(64) > 0.1
    assert not is_plausible_deformation(Deformation(control=folded), SETTINGS)
