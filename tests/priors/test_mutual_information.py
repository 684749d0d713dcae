import numpy as np
import pytest

from medprior.priors.deformation import Deformation
from medprior.priors.free_form import interpolate_bilinear
from medprior.priors.mutual_information import convert_to_itk, register_affine, use_single_itk_thread
from medprior.priors.registration import equalise_histogram
from medprior.priors.settings import RegistrationSettings

from .conftest import SIZE, thorax

SETTINGS = RegistrationSettings()


def test_mutual_information_finds_a_known_affine_map():
    moving = equalise_histogram(thorax(0)[0])
    truth = Deformation(np.array([[1.08, 0.03], [-0.02, 0.92]]), np.array([0.04, -0.03]))
    fixed = interpolate_bilinear(moving, truth.grid(SIZE) * SIZE - 0.5)[0]
    affine = register_affine(fixed, moving, SETTINGS)
    away = np.abs(affine.grid(SIZE) - truth.grid(SIZE)).max() * SIZE
    assert away < 1.5


def test_the_affine_map_is_the_same_every_time():
    fixed, moving = equalise_histogram(thorax(4)[0]), equalise_histogram(thorax(0)[0])
    repeats = [register_affine(fixed, moving, SETTINGS) for _ in range(4)]
    for other in repeats[1:]:
        np.testing.assert_array_equal(other.matrix, repeats[0].matrix)
        np.testing.assert_array_equal(other.shift, repeats[0].shift)


def test_the_histogram_has_as_many_bins_as_asked_for():
    fixed, moving = equalise_histogram(thorax(4)[0]), equalise_histogram(thorax(0)[0])
    coarse, fine = (register_affine(fixed, moving, RegistrationSettings(bins=bins)) for bins in (8, 64))
    assert not np.array_equal(coarse.matrix, fine.matrix)


def test_a_picture_covers_the_unit_square_in_itk():
    picture = np.zeros((64, 64))
    picture[3, 10] = 7
    image = convert_to_itk(picture)
    assert image.GetSpacing() == (2, 2)
    assert image.GetOrigin() == (0.5, 0.5)
    assert image.GetPixel(10, 3) == 7  # ITK counts columns first


def test_threads_are_given_back_also_after_an_error():
    from SimpleITK import ProcessObject

    def fail_with_one_thread():
        with use_single_itk_thread():
            assert ProcessObject.GetGlobalDefaultNumberOfThreads() == 1
            raise KeyError

    before = ProcessObject.GetGlobalDefaultNumberOfThreads()
    ProcessObject.SetGlobalDefaultNumberOfThreads(3)
    try:
        with pytest.raises(KeyError):
            fail_with_one_thread()
        assert ProcessObject.GetGlobalDefaultNumberOfThreads() == 3
    finally:
        ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def test_a_shift_comes_back_in_sides_and_row_first():
    y, x = (np.mgrid[:64, :64] + 0.5) / 64
    moving = np.exp(-(((y - 0.5) / 0.15) ** 2) - ((x - 0.5) / 0.25) ** 2)
    fixed = np.exp(-(((y - 0.4) / 0.15) ** 2) - ((x - 0.45) / 0.25) ** 2)
    deformation = register_affine(fixed, moving, RegistrationSettings(size=64))
    assert deformation.affine(np.array([0.4, 0.45])) == pytest.approx([0.5, 0.5], abs=0.01)
