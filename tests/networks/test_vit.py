"""The CLS row beside fused attention equals dense attention (methods 11, points 5 and 6)."""

import pytest
import torch

from medprior.errors import ConfigError, InputMissing
from medprior.networks import (
    VisionTransformer,
    ViTSettings,
    compute_attention_maps,
    load_weights,
    save_weights,
)


def network(**values):
    torch.manual_seed(0)
    return VisionTransformer(ViTSettings(width=48, depth=2, heads=3, image_size=32, **values))


def dense_row(net, images):
    """CLS logits on patches from an explicit T x T score matrix of the last block."""
    x, _ = net.embed_images(images)
    for block in net.blocks[:-1]:
        x, _ = block(x)
    q, k, _ = net.blocks[-1].attention.split(net.blocks[-1].norm1(x))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores[:, :, 0, net.prefix :], scores.softmax(-1)[:, :, 0, net.prefix :].sum(-1)


@pytest.mark.parametrize("registers", [0, 4])
def test_row_equals_dense_attention(registers):
    net = network(registers=registers)
    images = torch.rand(2, 1, 32, 32)
    tokens = net(images, capture=True)
    logits, mass = dense_row(net, images)
    assert torch.allclose(tokens.cls_logits, logits, atol=1e-6)
    assert torch.allclose(tokens.cls_mass, mass, atol=1e-6)
    weight = net.blocks[-1].attention.qkv.weight
    ours = torch.autograd.grad(tokens.cls_logits.square().sum(), weight, retain_graph=True)[0]
    dense = torch.autograd.grad(logits.square().sum(), weight)[0]
    assert torch.allclose(ours, dense, rtol=1e-4, atol=1e-7)


def test_capture_changes_nothing_else():
    net = network().eval()
    images = torch.rand(2, 1, 32, 32)
    with_row, without = net(images, capture=True), net(images)
    assert torch.equal(with_row.cls, without.cls)
    assert without.cls_logits is None


def test_row_is_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = network()(torch.rand(1, 1, 32, 32), capture=True)
    assert tokens.cls_logits.dtype == torch.float32
    assert tokens.cls_logits.requires_grad


def test_other_sizes_and_wrong_size():
    net = network().eval()
    maps = compute_attention_maps(net, torch.rand(2, 1, 48, 48))
    assert maps.shape == (2, 3, 6, 6)
    assert torch.allclose(maps.sum((-1, -2)), torch.ones(2, 3), atol=1e-5)
    with pytest.raises(ConfigError, match="multiples of 8"):
        net(torch.rand(1, 1, 30, 30))


def test_weights_round_trip_and_refusals(tmp_path):
    net = network()
    path = tmp_path / "w.safetensors"
    save_weights(path, net)
    again = load_weights(path, None)
    assert all(torch.equal(again[k], v) for k, v in net.state_dict().items())
    with pytest.raises(InputMissing, match="digest"):
        load_weights(path, "0" * 64)
    with torch.no_grad():
        net.cls.fill_(float("nan"))
    save_weights(path, net)
    with pytest.raises(InputMissing, match="not finite"):
        load_weights(path, None)
