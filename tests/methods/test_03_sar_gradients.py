"""SAR never gives NaN, in value or gradient (methods 11, point 3)."""

import pytest
import torch

from medprior.pretrain.objectives.spatial_entropy import compute_spatial_entropy


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
    found = compute_spatial_entropy(maps, (6, 6))
    assert found.dtype == torch.float32
    assert found[:2].tolist() == [0, 0]
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(maps.grad).all()
    assert maps.grad[0].abs().max() == 0
    assert maps.grad[3].abs().max() > 0


def test_nothing_seen_is_zero():
    maps = torch.randn(2, 16, requires_grad=True)
    found = compute_spatial_entropy(maps, (4, 4), 8, torch.zeros(2, 16, dtype=torch.bool))
    found.sum().backward()
    assert found.tolist() == [0, 0]
    assert torch.equal(maps.grad, torch.zeros(2, 16))
