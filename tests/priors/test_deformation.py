import numpy as np
import pytest

from medprior.priors.deformation import Deformation, pixel_centres, spline_basis


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


def test_cubic_splines_at_the_middle_of_a_cell():
    basis = spline_basis(4, 4)
    np.testing.assert_allclose(basis[0] * 48, [1, 23, 23, 1, 0, 0, 0])
    np.testing.assert_allclose(basis[3] * 48, [0, 0, 0, 1, 23, 23, 1])


def test_points_are_row_then_column():
    centres = pixel_centres(2)
    assert centres[0].tolist() == [[0.25, 0.25], [0.75, 0.75]]
    assert centres[1].tolist() == [[0.25, 0.75], [0.25, 0.75]]
    turn = Deformation(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.array([0.1, 0.0]))
    np.testing.assert_allclose(turn.affine(np.array([0.5, 0.75])), [0.85, 0.5])


def test_the_affine_map_acts_on_displaced_points():
    """A displacement of 0.1 along the columns, doubled by the matrix."""
    control = np.stack([np.zeros((5, 5)), np.full((5, 5), 0.1)])
    moved = Deformation(2 * np.eye(2), control=control).grid(4)
    np.testing.assert_allclose(moved[0], 2 * (pixel_centres(4)[0] - 0.5) + 0.5)
    np.testing.assert_allclose(moved[1], 2 * (pixel_centres(4)[1] + 0.1 - 0.5) + 0.5)
    assert not Deformation().displacement(4).any()


def test_scales_are_the_least_and_the_greatest():
    assert Deformation(np.array([[0.0, -2.0], [0.5, 0.0]])).scales() == pytest.approx((0.5, 2))


@pytest.mark.parametrize(("slope", "share"), [(-0.5, 0), (-1.5, 1), (3, 0)])
def test_it_folds_where_columns_change_their_order(slope, share):
    line = slope * np.arange(7) / 4  # the spline of a line of coefficients is that line
    control = np.stack([np.zeros((7, 7)), np.tile(line, (7, 1))])
    assert Deformation(control=control).folding_fraction(16) == share


def test_turning_both_axes_over_is_no_fold():
    line = -1.5 * np.arange(7) / 4
    control = np.stack([np.tile(line[:, None], (1, 7)), np.tile(line, (7, 1))])
    assert Deformation(control=control).folding_fraction(16) == 0
