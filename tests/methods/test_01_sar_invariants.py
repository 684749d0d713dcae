"""SAR's invariants (methods 11, point 1; properties of section 4)."""

import math

import pytest
import torch

from medprior.pretrain.objectives.sar import list_free_heads, sar_loss
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
    found = compute_spatial_entropy(maps, (7, 10), connectivity)
    moved = compute_spatial_entropy(3.7 * maps - 2.5, (7, 10), connectivity)
    assert torch.allclose(found, moved, atol=1e-12)
    (slope,) = torch.autograd.grad(found.sum(), maps)
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
    assert list_free_heads(6, [1, 4]) == [0, 2, 3, 5]


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


def test_loss_is_the_mean_and_excess_lets_the_allowed_be():
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 36)
    each = compute_spatial_entropy(logits, (6, 6))
    loss, plain = sar_loss(logits, (6, 6))
    assert loss.item() == pytest.approx(each.mean().item())
    assert plain.item() == pytest.approx(each.mean().item())
    allowed = torch.tensor([0.0, 0.3, 9.0])
    loss, _ = sar_loss(logits, (6, 6), allowed=allowed)
    assert loss.item() == pytest.approx((each - allowed[:, None]).clamp(min=0).mean().item())
    assert sar_loss(logits[:, :0], (6, 6))[0].item() == 0
