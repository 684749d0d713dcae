"""Views and maps move together; the prior moves with the view."""

import math

import numpy as np
import torch

from medprior.geometry import Views, create_whole_image_views
from medprior.networks.views import (
    choose_oversampling,
    compute_patch_coverage,
    crop_views,
    resample_maps_to_source,
    rotate_affine,
)
from medprior.phantom import render_phantom
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewMaker

ZERO = torch.zeros(1, dtype=torch.long)


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


def test_maps_end_or_go_on_where_the_source_lies_outside_the_view():
    """A view of the right half: the left half of the source is 0, or the map's border."""
    maps = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    half = views([[0, 0.5, 1, 0.5]])
    ended = resample_maps_to_source(maps, half, 8)[0, 0]
    extended = resample_maps_to_source(maps, half, 8, extend_border=True)[0, 0]
    assert not ended[:, :4].any()
    assert torch.equal(ended[:, 4:], extended[:, 4:])
    assert torch.equal(extended[:, :4], extended[:, 4:5].expand(8, 4))


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


def grid_views(*boxes, flip=False, grid=(8, 8)):
    return Views(np.array(boxes, dtype=float), np.full(len(boxes), flip), grid)


def exact_maps():
    """Multiples of 1/128: sums of them are exact."""
    torch.manual_seed(0)
    return torch.randint(0, 129, (1, 2, 64, 64)) / 128


def test_identity_keeps_the_mass_exactly():
    covered = compute_patch_coverage(exact_maps(), grid_views([0, 0, 1, 1]), ZERO)
    assert torch.equal(covered.mean(-1), exact_maps().mean((-1, -2)))


def test_flip_is_mirrored_exactly():
    box = [0.25, 0.125, 0.5, 0.5]
    plain = compute_patch_coverage(exact_maps(), grid_views(box), ZERO).view(2, 8, 8)
    mirrored = compute_patch_coverage(exact_maps(), grid_views(box, flip=True), ZERO).view(2, 8, 8)
    assert torch.equal(mirrored, plain.flip(-1))


def test_four_quadrants_tile_the_map_to_single_precision():
    full = compute_patch_coverage(exact_maps(), grid_views([0, 0, 1, 1]), ZERO).view(2, 8, 8)
    corners = [[y, x, 0.5, 0.5] for y in (0, 0.5) for x in (0, 0.5)]
    parts = compute_patch_coverage(exact_maps(), grid_views(*corners, grid=(4, 4)), ZERO.repeat(4)).view(2, 2, 2, 4, 4)
    tiled = parts.permute(2, 0, 3, 1, 4).reshape(2, 8, 8)
    assert torch.allclose(tiled, full, rtol=0, atol=3e-7)  # places are float32


def test_coverage_outside_the_source_is_zero():
    covered = compute_patch_coverage(torch.ones(1, 1, 64, 64), grid_views([-0.5, 0, 1, 1]), ZERO).view(8, 8)
    assert torch.equal(covered[:4], torch.zeros(4, 8))
    assert torch.equal(covered[4:], torch.ones(4, 8))


def test_pixels_that_are_the_prior_stay_it_through_the_real_augmentation():
    off = {"brightness": 0.0, "contrast": 0.0, "gamma": 0.0, "blur_p": 0.0}
    settings = PretrainSettings.from_values({
        "recipe": "dino", "batch": 8, "steps": 100,
        "network": {"width": 48, "depth": 2, "heads": 6, "patch": 8, "registers": 2, "image_size": 48},
        "crops": {"flip_p": 0.5, "global_size": 48, "local_size": 24, "locals": 2}, "intensity": off,
    }).resolve(64)  # fmt: skip
    structures = ("left_lung", "right_lung", "heart")
    phantoms = [render_phantom(seed, size=96) for seed in range(16)]
    structures_by_image = [[phantom.masks[name] for name in structures] for phantom in phantoms]
    masks = torch.from_numpy(np.array(structures_by_image, np.float32))
    for k in range(3):
        globals_, locals_ = ViewMaker(settings)(masks[:, k : k + 1], np.ones(16), 3, slice(0, 16), 16)
        assert globals_.geometry.flip.any()
        for views in (globals_, locals_):
            seen = torch.nn.functional.avg_pool2d(views.pixels, 8).flatten(2)
            prior = compute_patch_coverage(masks[:, k : k + 1], views.geometry, views.index)
            assert (seen - prior).abs().mean() < 0.01
            assert prior.mean() > 0.02


def test_samples_follow_the_strongest_shrinking_up_to_four():
    half, whole = [0, 0, 0.5, 0.5], [0, 0, 1, 1]
    assert choose_oversampling(views([half]), 64, 32) == 1
    assert choose_oversampling(views([half, whole]), 64, 32) == 2
    assert choose_oversampling(views([whole]), 65, 32) == 3
    assert choose_oversampling(views([whole]), 32, 64) == 1
    assert choose_oversampling(views([whole]), 640, 32) == 4


def test_a_view_is_turned_about_its_own_middle():
    """By a quarter turn its right edge shows what lies at its lower edge; the middle stays."""
    theta = torch.tensor([[[0.5, 0.0, 0.2], [0.0, 0.25, -0.1]]])
    turned = rotate_affine(theta.repeat(3, 1, 1), torch.tensor([0.0, math.pi / 2, math.pi]))
    torch.testing.assert_close(turned[0], theta[0])
    torch.testing.assert_close(turned[1], torch.tensor([[0.0, 0.5, 0.2], [-0.25, 0.0, -0.1]]))
    torch.testing.assert_close(turned[2], torch.tensor([[-0.5, 0.0, 0.2], [0.0, -0.25, -0.1]]))
