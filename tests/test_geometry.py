import numpy as np
import torch

from medprior.geometry import Views, create_whole_image_views, find_mask_box

# y0, x0, height, width.
BOX = np.array([[0.25, 0.5, 0.5, 0.25], [0.0, -0.5, 1.0, 2.0]])


def views(flip=(False, True), grid=(1, 2)) -> Views:
    """The two boxes, the second mirrored."""
    return Views(BOX, np.array(flip), grid)


def test_affine_maps_the_view_onto_its_box():
    # In units of -1 to 1 the first box has its centre at x = 0.625, y = 0.5.
    assert views().affine()[0].tolist() == [[0.25, 0, 0.25], [0, 0.5, 0]]
    assert views().affine()[1].tolist() == [[-2, 0, 0], [0, 1, 0]]


def test_the_inverse_undoes_the_affine():
    pair = views()
    theta, inverse = pair.affine(), pair.inverse_affine()
    points = np.array([[-1.0, 0.3], [0.7, -0.2]])
    there = np.einsum("vij,vj->vi", theta[:, :, :2], points) + theta[:, :, 2]
    back = np.einsum("vij,vj->vi", inverse[:, :, :2], there) + inverse[:, :, 2]
    np.testing.assert_allclose(back, points)


def test_centres_run_in_the_order_of_the_mirrored_view():
    centres = views().patch_centres()
    assert centres[0].tolist() == [[0.5, 0.5625], [0.5, 0.6875]]
    assert centres[1].tolist() == [[0.5, 1.0], [0.5, 0.0]]
    tall = views(grid=(2, 1)).patch_centres()
    assert tall[0].tolist() == [[0.375, 0.625], [0.625, 0.625]]


def test_a_whole_image_is_centred_in_a_square():
    view = create_whole_image_views(np.array([2.0, 0.5, 1.0]), (3, 4))
    assert view.box.tolist() == [[-0.5, 0, 2, 1], [0, -0.5, 1, 2], [0, 0, 1, 1]]
    assert not view.flip.any()
    assert view.grid == (3, 4)


def test_views_are_taken_in_the_order_asked_for():
    taken = views().take(np.array([1, 0, 1]))
    assert len(taken) == 3
    assert taken.flip.tolist() == [True, False, True]
    assert taken.box[:, 1].tolist() == [-0.5, 0.5, -0.5]
    assert views().take(slice(1, 2)).flip.tolist() == [True]


def test_patch_centres_agree_with_affine():
    view = Views(np.array([[0.1, 0.2, 0.5, 0.6]]), np.array([True]), (3, 5))
    theta = torch.as_tensor(view.affine(), dtype=torch.float32)
    grid = torch.nn.functional.affine_grid(theta, [1, 1, 3, 5], align_corners=False)
    expected = (grid[0].reshape(-1, 2).flip(-1).numpy() + 1) / 2
    assert np.allclose(view.patch_centres()[0], expected, atol=1e-6)


def test_the_box_of_a_mask_is_the_smallest_around_it():
    mask = np.zeros((7, 9), bool)
    mask[2, 3] = mask[5, 8] = True
    assert find_mask_box(mask) == (slice(2, 6), slice(3, 9))
    assert find_mask_box(np.ones((2, 3), bool)) == (slice(0, 2), slice(0, 3))


def test_views_are_zoomed_about_their_centres_and_moved_by_shares_of_their_sides():
    views = create_whole_image_views(np.array([1.0, 2.0]), (4, 4))
    moved = views.zoom(0.5, np.array([0.25, -0.1]))
    np.testing.assert_allclose(moved.box, [[0.5, 0.15, 0.5, 0.5], [0.5, 0.15, 1.0, 0.5]])
    apart = views.zoom(np.array([[1.0, 2.0], [0.5, 1.0]]), np.array([[0.0, 0.0], [0.5, 0.0]]))
    np.testing.assert_allclose(apart.box, [[0, -0.5, 1, 2], [1.0, 0, 1, 1]])
    assert (apart.flip == views.flip).all()
    assert apart.grid == views.grid
