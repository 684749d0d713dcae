import numpy as np
import pytest
from scipy import optimize

from medprior.priors.deformation import Deformation, spline_basis
from medprior.priors.free_form import FreeFormCost, downsample_picture, interpolate_bilinear, register_deformable
from medprior.priors.settings import RegistrationSettings

from .conftest import noise


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
    slopes = optimize.approx_fprime(at, lambda flat: cost(flat)[0], 1e-8)
    np.testing.assert_allclose(cost(at)[1], slopes, atol=2e-5)


def test_splines_sum_to_one_and_bending_ignores_affine_maps():
    basis = spline_basis(40, 6)
    np.testing.assert_allclose(basis.sum(axis=1), 1)
    cost = FreeFormCost(noise()[:16, :16], noise()[:16, :16], Deformation(), RegistrationSettings(mesh=6))
    line = np.arange(9.0)
    control = np.stack([np.tile(line, (9, 1)), np.tile(line[:, None], (1, 9)) + 3])
    energy, force = cost.bending(control)
    assert energy == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(force, 0, atol=1e-9)


def test_both_parts_of_the_gradient_are_exact_to_a_thousandth():
    """The similarity's part is small beside the bending's: each is compared on its own scale."""
    rng = np.random.default_rng(7)
    fixed, moving = rng.random((2, 16, 16))
    start = Deformation(np.array([[1.1, 0.2], [-0.1, 0.9]]), np.array([0.02, -0.03]))
    control = rng.normal(0, 0.02, 72)
    for bending, unit in ((0.0, 1e-7), (0.5, 1e-5)):
        settings = RegistrationSettings(mesh=3, radius=2, bending=bending)
        cost = FreeFormCost(fixed, moving, start, settings)
        slopes = [
            (cost(control + step)[0] - cost(control - step)[0]) / (2 * unit) for step in unit * np.eye(len(control))
        ]
        away = np.abs(cost(control)[1] - slopes).max()
        assert away < 1e-3 * np.abs(slopes).max()


def test_bending_of_a_single_coefficient_is_the_biharmonic_stencil():
    cost = FreeFormCost(noise()[:16, :16], noise()[:16, :16], Deformation(), RegistrationSettings(mesh=6))
    control = np.zeros((2, 9, 9))
    control[0, 4, 4] = 1
    energy, gradient = cost.bending(control)
    assert energy == 20
    assert gradient[0, 4, 4] == 40
    assert gradient[0, 4, 5] == gradient[0, 3, 4] == 2 * -8
    assert gradient[0, 5, 5] == 2 * 2
    assert not gradient[1].any()


def test_bilinear_slopes_inside_and_beside_the_picture():
    image = np.array([[0.0, 1.0], [2.0, 5.0]])
    points = np.array([[[0.5, -1.0]], [[0.25, 0.5]]])  # (y, x) = (0.5, 0.25) and (-1, 0.5)
    values, slopes = interpolate_bilinear(image, points)
    assert values.tolist() == [[1.5, 0.5]]
    assert slopes[0].tolist() == [[2.5, 0]]
    assert slopes[1].tolist() == [[2, 1]]


def test_registering_keeps_the_affine_part_and_brings_the_pictures_closer():
    y, x = (np.mgrid[:32, :32] + 0.5) / 32
    fixed = np.exp(-(((y - 0.5) / 0.2) ** 2) - ((x - 0.5) / 0.2) ** 2)
    moving = np.exp(-(((y - 0.45) / 0.2) ** 2) - ((x - 0.55) / 0.2) ** 2)
    start = Deformation(np.eye(2), np.array([0.01, 0.0]))
    settings = RegistrationSettings(size=32, mesh=4, shrink=(2, 1), iterations=30, bending=1e-5)
    deformation = register_deformable(fixed, moving, start, settings)
    assert deformation.matrix is start.matrix
    assert deformation.shift is start.shift
    assert deformation.control.shape == (2, 7, 7)
    at_centre = deformation.grid(32)[:, 15:17, 15:17].mean((1, 2))
    assert at_centre == pytest.approx([0.45, 0.55], abs=0.01)


def test_a_smaller_picture_holds_means():
    picture = np.arange(16.0).reshape(4, 4)
    assert downsample_picture(picture, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]
