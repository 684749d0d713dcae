import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medprior.finetune.image_grid import (
    interpolate_axis,
    keep_largest_components,
    place_samples,
    resample_to_image,
    threshold_on_image,
)
from medprior.geometry import Views, create_whole_image_views
from medprior.networks import crop_views


def test_cutting_a_view_and_laying_it_over_the_image_is_the_image():
    y, x = np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 60), indexing="ij")
    smooth = torch.tensor(np.sin(3 * x) * np.cos(2 * y) * 0.4 + 0.5, dtype=torch.float32)[None, None]
    for aspect in (0.6, 1.0, 1.7):
        views = create_whole_image_views(np.array([aspect]), (64, 64))
        view = crop_views(smooth, views, 64, torch.tensor([0]))
        back = resample_to_image(view, views, 60, 60)
        inner = (slice(None), slice(None), slice(3, -3), slice(3, -3))
        torch.testing.assert_close(back[inner], smooth[inner], atol=0.02, rtol=0)


def test_stray_pieces_are_dropped_where_the_number_of_pieces_is_known():
    mask = np.zeros((40, 40), bool)
    mask[2:20, 2:15] = True
    mask[2:18, 22:36] = True
    mask[30:36, 30:36] = True
    mask[38, 38] = True
    one = keep_largest_components(mask, "heart")
    assert one.sum() == 18 * 13
    assert one[5, 5]
    two = keep_largest_components(mask, "lungs")
    assert two.sum() == 18 * 13 + 16 * 14
    assert keep_largest_components(mask, "nodule").sum() == mask.sum()
    speck = np.zeros((40, 40), bool)
    speck[0, 0] = True
    assert not keep_largest_components(speck, "heart").any()
    assert not keep_largest_components(np.zeros((4, 4), bool), "heart").any()


def test_a_component_of_exactly_the_smallest_share_is_kept():
    mask = np.zeros((20, 20), bool)
    mask[3, 3:5] = True  # two of 400 pixels
    assert keep_largest_components(mask, "heart").sum() == 2
    mask[3, 4] = False
    assert keep_largest_components(mask, "heart").sum() == 0


def test_diagonal_neighbours_are_two_components():
    mask = np.zeros((10, 10), bool)
    mask[1:4, 1:4] = True
    mask[4, 4:6] = True
    assert keep_largest_components(mask, "left_lung").sum() == 9
    assert keep_largest_components(mask, "right_lung").sum() == 9
    assert keep_largest_components(mask, "lungs").sum() == 11


def test_maps_lie_on_rows_and_columns_of_the_image():
    """A view of a picture twice as wide as high shows it in the middle half of its rows."""
    views = create_whole_image_views(np.array([2.0]), (8, 8))
    maps = torch.zeros(1, 2, 8, 8)
    maps[0, 0, 2:6] = torch.arange(1.0, 5)[:, None]
    maps[0, 0, :2], maps[0, 0, 6:] = 9, 9
    maps[0, 1] = torch.arange(8.0)
    found = resample_to_image(maps, views, 4, 8)
    assert found.shape == (1, 2, 4, 8)
    torch.testing.assert_close(found[0, 0], torch.arange(1.0, 5)[:, None].expand(4, 8))
    torch.testing.assert_close(found[0, 1], torch.arange(8.0).expand(4, 8))


@pytest.mark.parametrize(("rows", "cols"), [(37, 91), (90, 41), (5, 3)])
def test_maps_are_sampled_as_grid_sample_does(rows, cols):
    torch.manual_seed(0)
    maps = torch.rand(3, 2, 9, 12)
    box = np.array([[0, 0, 1, 1], [-0.2, 0.1, 1.3, 0.8], [0.3, -0.4, 0.5, 1.9]])
    views = Views(box, np.array([False, True, False]), (9, 12))
    theta = torch.as_tensor(views.inverse_affine(), dtype=torch.float32)
    grid = F.affine_grid(theta, [3, 1, rows, cols], align_corners=False)
    expected = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(resample_to_image(maps, views, rows, cols), expected, atol=1e-5, rtol=0)


def test_an_axis_is_interpolated_between_centres_and_its_border_goes_on():
    values = torch.tensor([[1.0, 3.0]])
    enlarged = interpolate_axis(values, 1, place_samples(4, 2, 1.0, 0.0))
    torch.testing.assert_close(enlarged, torch.tensor([[1.0, 1.5, 2.5, 3.0]]))
    right_half = interpolate_axis(values, 1, place_samples(2, 2, 0.5, 0.5))
    torch.testing.assert_close(right_half, torch.tensor([[2.5, 3.0]]))
    turned = interpolate_axis(values.T, 0, place_samples(2, 2, -1.0, 0.0))
    torch.testing.assert_close(turned, torch.tensor([[3.0], [1.0]]))


@pytest.mark.parametrize("aspect", [0.7, 1.0, 1.6])
def test_a_mask_is_the_enlarged_map_from_the_threshold_on(aspect):
    torch.manual_seed(1)
    probability = torch.rand(14, 14)
    view = create_whole_image_views(np.array([aspect]), (7, 7))
    enlarged = resample_to_image(probability[None, None], view, 101, 75)[0, 0].numpy()
    threshold = float(enlarged[50, 40])
    mask = threshold_on_image(probability, view, 101, 75, threshold)
    assert mask[50, 40]
    np.testing.assert_array_equal(mask, enlarged >= threshold)


@pytest.mark.parametrize(("rows", "cols"), [(200, 150), (5, 4), (9, 1), (2, 2), (1, 9)])
@pytest.mark.parametrize("peaks", [[], [(0, 0)], [(8, 8)], [(4, 3), (4, 6)], [(0, 8), (8, 0)]])
def test_a_mask_of_few_samples_is_that_of_the_whole_enlarged_map(peaks, rows, cols):
    """Samples that reach the threshold at edges, corners, in places or nowhere, on finer and coarser grids."""
    probability = 0.4 * torch.rand(9, 9, generator=torch.Generator().manual_seed(1))
    for row, col in peaks:
        probability[row, col] = 0.5
    view = create_whole_image_views(np.array([1.3]), (9, 9))
    enlarged = resample_to_image(probability[None, None], view, rows, cols)[0, 0].numpy()
    for threshold in (0.0, 0.3, 0.45, 0.5):
        mask = threshold_on_image(probability, view, rows, cols, threshold)
        np.testing.assert_array_equal(mask, enlarged >= threshold)
