"""What all networks share: the CLS row beside fused attention, the grid, and watching."""

import pytest
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from medprior.errors import ConfigError
from medprior.networks.encoder import watch_attention
from medprior.networks.vit import VisionTransformer, ViTSettings

from .encoder_cases import CASES, build_case, build_perturbed, compute_dense_scores


class Counting(TorchFunctionMode):
    """Counts calls of fused attention."""

    calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls += func is F.scaled_dot_product_attention
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("size", [(32, 32), (40, 24)])
@pytest.mark.parametrize("case", CASES)
def test_the_captured_row_equals_dense_attention_in_values_and_gradients(case, size):
    net = build_perturbed(case)
    images = torch.rand(2, 1, *size, dtype=torch.float64)
    tokens, scores = net(images, capture=True), compute_dense_scores(net, images)
    logits = scores[:, :, 0, net.prefix :]
    mass = scores.softmax(-1)[:, :, 0, net.prefix :].sum(-1)
    assert tokens.cls_logits.dtype == torch.float32
    assert torch.allclose(tokens.cls_logits.double(), logits, rtol=1e-5, atol=1e-5)
    assert torch.allclose(tokens.cls_mass.double(), mass, rtol=1e-5, atol=1e-6)
    weight = torch.randn_like(logits)
    trained = [p for p in net.parameters() if p.requires_grad]
    ours = torch.autograd.grad((tokens.cls_logits * weight).sum(), trained, retain_graph=True, allow_unused=True)
    theirs = torch.autograd.grad((logits * weight).sum(), trained, allow_unused=True)
    assert any(a is not None and a.abs().max() > 0 for a in ours)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_row_is_on_the_graph_down_to_the_image(case):
    net = build_case(case)
    images = torch.rand(2, 1, 32, 32, requires_grad=True)
    net(images, capture=True).cls_logits.square().sum().backward()
    assert images.grad.abs().sum() > 0
    for block in list(net.blocks)[:1]:
        assert all(p.grad is not None for p in block.parameters())


@pytest.mark.parametrize("case", CASES)
def test_the_row_is_float32_under_autocast(case):
    net = build_case(case).eval()
    images = torch.rand(2, 1, 32, 32)
    exact = net(images, capture=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = net(images, capture=True)
    assert tokens.cls_logits.dtype == tokens.cls_mass.dtype == torch.float32
    assert tokens.cls_logits.requires_grad
    assert torch.allclose(tokens.cls_logits, exact.cls_logits, atol=0.1)


@pytest.mark.parametrize("case", CASES)
def test_attention_is_fused_everywhere_and_nothing_else_changes(case):
    net = build_case(case).eval()
    images = torch.rand(2, 1, 32, 32)
    with Counting() as plain:
        without = net(images)
    with Counting() as captured:
        with_row = net(images, capture=True)
    assert torch.equal(without.cls, with_row.cls)
    assert torch.equal(without.patches, with_row.patches)
    assert plain.calls == captured.calls == 2
    assert without.cls_logits is None


def test_a_mask_without_a_token_is_refused():
    with pytest.raises(ConfigError, match="mask_token"):
        build_case("ours")(torch.rand(1, 1, 32, 32), mask=torch.ones(1, 16).bool())


def test_sides_must_be_multiples_of_the_patch():
    network = build_case("ours")
    assert network.patch_grid(torch.zeros(32, 48)) == (4, 6)
    for size in ((33, 32), (32, 36)):
        with pytest.raises(ConfigError, match=f"multiples of 8.*{size[0]} x {size[1]}"):
            network.patch_grid(torch.zeros(*size))


def test_tokens_before_the_patches_are_cls_and_registers():
    assert build_case("ours_nosn").prefix == 1
    assert build_case("rope_registers").prefix == 3


def test_watching_ends_also_after_an_error():
    network = build_case("ours").eval()
    shown = []
    with watch_attention(network, shown.append):
        network(torch.rand(1, 1, 32, 32))
    assert len(shown) == 2
    with pytest.raises(ConfigError), watch_attention(network, shown.append):
        network(torch.rand(1, 1, 30, 32))
    assert network.watch is None
    network(torch.rand(1, 1, 32, 32))
    assert len(shown) == 2


def test_kept_patches_are_encoded_as_if_there_were_no_others():
    """The order of the kept does not matter, what is dropped has no influence, and its output is 0."""
    torch.manual_seed(0)
    network = VisionTransformer(ViTSettings(width=24, depth=2, heads=3, image_size=32, registers=1)).eval()
    images = torch.rand(2, 1, 32, 32)
    kept = torch.tensor([[3, 0, 9], [5, 15, 2]])
    tokens = network(images, kept=kept)
    again = network(images, kept=kept.flip(1))
    torch.testing.assert_close(tokens.cls, again.cls)
    torch.testing.assert_close(tokens.patches, again.patches)
    is_kept = torch.zeros(2, 16, dtype=torch.bool).scatter(1, kept, True)
    assert (tokens.patches[~is_kept] == 0).all()
    assert (tokens.patches[is_kept].abs().amax(-1) > 0).all()
    at = is_kept.unflatten(1, (4, 4)).repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    torch.testing.assert_close(network(torch.where(at, images, 0.7), kept=kept).cls, tokens.cls)
    everything = torch.arange(16).expand(2, -1)
    torch.testing.assert_close(network(images, kept=everything).patches, network(images).patches)
