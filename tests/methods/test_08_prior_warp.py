"""The prior moves with the view (methods 11, point 8)."""

import numpy as np
import torch

from medprior.geometry import Views
from medprior.networks.views import compute_patch_coverage
from medprior.pretrain.views.augment import ViewMaker

from ..pretrain.scenes import pictures, tiny

ZERO = torch.zeros(1, dtype=torch.long)


def view(*boxes, flip=False, grid=(8, 8)):
    return Views(np.array(boxes, dtype=float), np.full(len(boxes), flip), grid)


def maps():
    """Multiples of 1/128: sums of them are exact."""
    torch.manual_seed(0)
    return torch.randint(0, 129, (1, 2, 64, 64)) / 128


def test_identity_keeps_the_mass_exactly():
    covered = compute_patch_coverage(maps(), view([0, 0, 1, 1]), ZERO)
    assert torch.equal(covered.mean(-1), maps().mean((-1, -2)))


def test_flip_is_mirrored_exactly():
    box = [0.25, 0.125, 0.5, 0.5]
    plain = compute_patch_coverage(maps(), view(box), ZERO).view(2, 8, 8)
    mirrored = compute_patch_coverage(maps(), view(box, flip=True), ZERO).view(2, 8, 8)
    assert torch.equal(mirrored, plain.flip(-1))


def test_quadrants_tile_the_whole():
    full = compute_patch_coverage(maps(), view([0, 0, 1, 1]), ZERO).view(2, 8, 8)
    corners = [[y, x, 0.5, 0.5] for y in (0, 0.5) for x in (0, 0.5)]
    parts = compute_patch_coverage(maps(), view(*corners, grid=(4, 4)), ZERO.repeat(4)).view(2, 2, 2, 4, 4)
    tiled = parts.permute(2, 0, 3, 1, 4).reshape(2, 8, 8)
    assert torch.allclose(tiled, full, rtol=0, atol=3e-7)  # places are float32


def test_outside_the_source_is_zero():
    covered = compute_patch_coverage(torch.ones(1, 1, 64, 64), view([-0.5, 0, 1, 1]), ZERO).view(8, 8)
    assert torch.equal(covered[:4], torch.zeros(4, 8))
    assert torch.equal(covered[4:], torch.ones(4, 8))


def test_pixels_that_are_the_prior_stay_it_through_the_real_augmentation():
    off = {"brightness": 0.0, "contrast": 0.0, "gamma": 0.0, "blur_p": 0.0}
    settings = tiny(crops={"flip_p": 0.5, "global_size": 48}, intensity=off)
    _, masks = pictures(16, size=96)
    for k in range(3):
        globals_, locals_ = ViewMaker(settings)(masks[:, k : k + 1], np.ones(16), 3, slice(0, 16), 16)
        assert globals_.geometry.flip.any()
        for views in (globals_, locals_):
            seen = torch.nn.functional.avg_pool2d(views.pixels, 8).flatten(2)
            prior = compute_patch_coverage(masks[:, k : k + 1], views.geometry, views.index)
            assert (seen - prior).abs().mean() < 0.01
            assert prior.mean() > 0.02
