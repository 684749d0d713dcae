"""The captured row is on the graph, float32 under autocast, and changes nothing (point 6)."""

import pytest
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from medprior.networks import ViTSettings, build_encoder, compute_attention_maps
from tests.methods.test_05_cls_row import CASES, SHAPE


class Counting(TorchFunctionMode):
    """Counts calls of fused attention."""

    calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls += func is F.scaled_dot_product_attention
        return func(*args, **(kwargs or {}))


def network(case, **options):
    torch.manual_seed(0)
    return build_encoder(ViTSettings.checked(SHAPE | CASES[case] | options))


@pytest.mark.parametrize("case", CASES)
def test_on_the_graph_down_to_the_image(case):
    net = network(case)
    images = torch.rand(2, 1, 32, 32, requires_grad=True)
    net(images, capture=True).cls_logits.square().sum().backward()
    assert images.grad.abs().sum() > 0
    for block in list(net.blocks)[:1]:
        assert all(p.grad is not None for p in block.parameters())


@pytest.mark.parametrize("case", CASES)
def test_float32_under_autocast(case):
    net = network(case).eval()
    images = torch.rand(2, 1, 32, 32)
    exact = net(images, capture=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = net(images, capture=True)
    assert tokens.cls_logits.dtype == tokens.cls_mass.dtype == torch.float32
    assert tokens.cls_logits.requires_grad
    assert torch.allclose(tokens.cls_logits, exact.cls_logits, atol=0.1)


@pytest.mark.parametrize("case", CASES)
def test_fused_everywhere_and_nothing_else_changes(case):
    net = network(case).eval()
    images = torch.rand(2, 1, 32, 32)
    with Counting() as plain:
        without = net(images)
    with Counting() as captured:
        with_row = net(images, capture=True)
    assert torch.equal(without.cls, with_row.cls)
    assert torch.equal(without.patches, with_row.patches)
    assert plain.calls == captured.calls == 2
    assert without.cls_logits is None


@pytest.mark.parametrize("case", CASES)
def test_any_image_size(case):
    maps = compute_attention_maps(network(case).eval(), torch.rand(2, 1, 48, 40))
    assert maps.shape == (2, 3, 6, 5)
    assert torch.allclose(maps.sum((-1, -2)), torch.ones(2, 3), atol=1e-5)


@pytest.mark.parametrize("case", [key for key, value in CASES.items() if "source" in value])
def test_masks_in_wrapped_models(case):
    net = network(case, mask_token=True).eval()
    images = torch.rand(1, 1, 32, 32)
    mask = torch.arange(16)[None] == 5  # row 1, column 1
    other = images.clone()
    other[..., 8:16, 8:16] = 0
    assert torch.equal(net(images, mask=mask).patches, net(other, mask=mask).patches)
    assert not torch.allclose(net(images).patches, net(other).patches)
