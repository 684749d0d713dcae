"""Spatial entropy (SAR, arXiv 2206.04636): known values, invariances, an independent labelling, finite gradients.

The oracle is scikit-image's connected components with a loop over regions, as in the authors' OpenCV code.
"""

import math

import numpy as np
import pytest
import torch
from skimage.measure import label

from medprior.pretrain.objectives.spatial_entropy import compute_spatial_entropy


def entropy_of(rows, connectivity=8):
    maps = torch.tensor(rows, dtype=torch.float64)
    return compute_spatial_entropy(maps.flatten()[None], tuple(maps.shape), connectivity).item()


def blobs(*masses, size=9):
    """Equal-height blobs of the given numbers of cells, one in every second row."""
    rows = torch.zeros(2 * len(masses), size)
    for index, mass in enumerate(masses):
        rows[2 * index, :mass] = 1
    return rows.tolist()


def test_known_values():
    assert entropy_of(blobs(4)) == 0
    assert entropy_of(blobs(3, 3)) == pytest.approx(math.log(2))
    assert entropy_of(blobs(6, 2)) == pytest.approx(0.562335, abs=1e-6)
    assert entropy_of(blobs(2, 2, 2, 2)) == pytest.approx(math.log(4))


def test_diagonal_neighbours_and_checkerboard():
    diagonal = [[1.0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert entropy_of(diagonal, 8) == 0
    assert entropy_of(diagonal, 4) == pytest.approx(math.log(2))
    board = [[float((x + y) % 2) for x in range(14)] for y in range(14)]
    assert entropy_of(board, 8) == 0
    assert entropy_of(board, 4) == pytest.approx(math.log(98))


@pytest.mark.parametrize("connectivity", [4, 8])
def test_scale_and_shift_change_nothing(connectivity):
    torch.manual_seed(0)
    maps = torch.randn(20, 70, dtype=torch.float64, requires_grad=True)
    entropy = compute_spatial_entropy(maps, (7, 10), connectivity)
    moved = compute_spatial_entropy(3.7 * maps - 2.5, (7, 10), connectivity)
    assert torch.allclose(entropy, moved, atol=1e-12)
    (slope,) = torch.autograd.grad(entropy.sum(), maps)
    assert slope.abs().max() > 1e-4
    assert slope.sum(-1).abs().max() < 1e-14
    assert (slope * maps).sum(-1).abs().max() < 1e-14


def test_gradient_is_that_of_differences():
    torch.manual_seed(1)
    maps = torch.randn(3, 30, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: compute_spatial_entropy(x, (5, 6), 8), maps)


def test_noise_percolates():
    """Random maps score below two lungs with 8 neighbours, so SAR never gets a bilateral head."""
    torch.manual_seed(0)
    noise = torch.randn(400, 196)
    assert compute_spatial_entropy(noise, (14, 14), 8).mean().item() == pytest.approx(0.44, abs=0.04)
    assert compute_spatial_entropy(noise, (14, 14), 4).mean().item() == pytest.approx(2.06, abs=0.08)


def test_logits_not_attention():
    torch.manual_seed(0)
    logits = 2 * torch.randn(300, 196)
    on_logits = compute_spatial_entropy(logits, (14, 14)).mean().item()
    assert on_logits == pytest.approx(0.43, abs=0.04)
    assert compute_spatial_entropy(logits.softmax(-1), (14, 14)).mean().item() > 3 * on_logits


def test_unseen_patches_are_as_if_cut_off():
    torch.manual_seed(0)
    maps = torch.randn(10, 8 * 5)
    seen = torch.ones(8, 5, dtype=torch.bool)
    seen[5:] = False
    cut = compute_spatial_entropy(maps[:, :25], (5, 5))
    assert torch.allclose(compute_spatial_entropy(maps, (8, 5), 8, seen.flatten()), cut, atol=1e-6)


def oracle(logits, connectivity):
    above = np.maximum(logits - logits.mean(), 0)
    regions = label(logits > logits.mean(), connectivity=1 if connectivity == 4 else 2)
    masses = np.array([above[regions == n].sum() for n in range(1, regions.max() + 1)])
    shares = masses / masses.sum()
    return -(shares * np.log(shares)).sum()


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("grid", [(14, 14), (6, 11)])
def test_entropy_is_the_oracles(grid, connectivity):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(200, *grid))
    entropy = compute_spatial_entropy(torch.from_numpy(maps).flatten(1), grid, connectivity)
    expected = [oracle(each, connectivity) for each in maps]
    np.testing.assert_allclose(entropy.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_empty_maps_are_zero_and_gradients_finite(dtype):
    torch.manual_seed(0)
    maps = torch.randn(6, 36)
    maps[0] = 2.5  # constant: no region at all
    maps[1] = 0
    maps[1, 7] = 1  # one cell
    maps[2, :] = torch.arange(36) * 1e-20  # hardly above the mean
    maps[3, 6:] = -3  # the first row and one far cell: two regions
    maps[3, 30] = 2
    maps = maps.to(dtype).requires_grad_()
    entropy = compute_spatial_entropy(maps, (6, 6))
    assert entropy.dtype == torch.float32
    assert entropy[:2].tolist() == [0, 0]
    entropy.sum().backward()
    assert torch.isfinite(entropy).all()
    assert torch.isfinite(maps.grad).all()
    assert maps.grad[0].abs().max() == 0
    assert maps.grad[3].abs().max() > 0


def test_nothing_seen_is_zero():
    maps = torch.randn(2, 16, requires_grad=True)
    entropy = compute_spatial_entropy(maps, (4, 4), 8, torch.zeros(2, 16, dtype=torch.bool))
    entropy.sum().backward()
    assert entropy.tolist() == [0, 0]
    assert torch.equal(maps.grad, torch.zeros(2, 16))
