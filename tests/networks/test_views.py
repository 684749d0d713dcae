"""Views and maps move together (methods 11, points 8 and 11)."""

import numpy as np
import torch

from medprior.geometry import Views, create_whole_image_views
from medprior.networks.views import compute_patch_coverage, crop_views, resample_maps_to_source


def views(boxes, flips=None, grid=(4, 4)):
    boxes = np.asarray(boxes, dtype=float)
    return Views(boxes, np.zeros(len(boxes), bool) if flips is None else np.asarray(flips), grid)


def test_identity_keeps_pixels_and_mass():
    image = torch.rand(1, 1, 32, 32)
    out = crop_views(image, views([[0, 0, 1, 1]]), 32, torch.tensor([0]))
    assert torch.allclose(out, image, atol=1e-6)
    maps = compute_patch_coverage(image, views([[0, 0, 1, 1]]), torch.tensor([0]))
    assert torch.allclose(maps.mean(), image.mean(), atol=1e-5)


def test_flip_is_mirror():
    image = torch.rand(1, 1, 32, 32)
    plain = crop_views(image, views([[0.1, 0.2, 0.5, 0.5]]), 16, torch.tensor([0]))
    mirrored = crop_views(image, views([[0.1, 0.2, 0.5, 0.5]], [True]), 16, torch.tensor([0]))
    assert torch.allclose(mirrored, plain.flip(-1), atol=1e-5)


def test_four_quadrants_tile_the_map():
    image = torch.rand(1, 2, 32, 32)
    full = compute_patch_coverage(image, views([[0, 0, 1, 1]], grid=(8, 8)), torch.tensor([0])).view(2, 8, 8)
    quarters = [[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 0.5], [0.5, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]
    parts = compute_patch_coverage(image, views(quarters), torch.zeros(4, dtype=torch.long)).view(4, 2, 4, 4)
    top = torch.cat([parts[0], parts[1]], -1)
    bottom = torch.cat([parts[2], parts[3]], -1)
    assert torch.allclose(torch.cat([top, bottom], -2), full, atol=1e-5)


def test_outside_is_zero():
    image = torch.ones(1, 1, 16, 16)
    out = crop_views(image, views([[0, -0.5, 1, 1]]), 16, torch.tensor([0]))
    assert torch.equal(out[0, 0, :, :8], torch.zeros(16, 8))
    assert torch.equal(out[0, 0, :, 8:], torch.ones(16, 8))


def test_whole_view_keeps_aspect_and_lays_back():
    aspect = np.array([0.5, 2.0])
    view = create_whole_image_views(aspect, (8, 8))
    image = torch.ones(2, 1, 32, 32)
    out = crop_views(image, view, 32, torch.arange(2))
    assert out[0].mean().item() == 0.5
    assert torch.equal(out[0, 0, :, 8:24], torch.ones(32, 16))
    maps = torch.linspace(0, 1, 8)[:, None].expand(2, 1, 8, 8).contiguous()
    back = resample_maps_to_source(maps, view, 32)
    again = crop_views(back, view, 8, torch.arange(2), oversampling=4)
    assert torch.allclose(again[0, 0, :, 3:5], maps[0, 0, :, 3:5], atol=0.05)


def test_pixels_that_are_the_prior_stay_the_prior():
    """An image whose pixels are the prior, cut as an image and as a map, agrees."""
    yy, xx = np.mgrid[:128, :128] / 128
    blob = np.exp(-(((yy - 0.5) / 0.2) ** 2) - ((xx - 0.4) / 0.15) ** 2).astype(np.float32)
    source = torch.as_tensor(blob)[None, None]
    rng = np.random.default_rng(0)
    boxes = np.column_stack([rng.uniform(0, 0.4, (20, 2)), np.full((20, 2), 0.6)])
    view = views(boxes, rng.random(20) < 0.5, (12, 12))
    index = torch.zeros(20, dtype=torch.long)
    pixels = torch.nn.functional.avg_pool2d(crop_views(source, view, 96, index), 8).flatten(2)
    assert (pixels - compute_patch_coverage(source, view, index)).abs().mean() < 0.01
