"""Our Vision Transformer: the CLS row beside fused attention equals dense attention; masked patches."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medprior.errors import ConfigError
from medprior.networks import (
    VisionTransformer,
    ViTSettings,
    build_encoder,
    compute_attention_maps,
)
from medprior.networks.vit import (
    Attention,
    Block,
    DropPath,
    attend_with_callback,
    build_sine_positions,
    disable_drop_path,
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


def masking_network(**values):
    torch.manual_seed(0)
    shape = {"width": 48, "depth": 2, "heads": 3, "image_size": 32, "mask_token": True}
    return build_encoder(ViTSettings.from_values(shape | values))


def test_nothing_of_a_masked_patch_is_seen():
    net = masking_network()
    with torch.no_grad():
        net.mask_token.normal_()
    images = torch.rand(2, 1, 32, 48)
    mask = torch.zeros(2, 24, dtype=torch.bool)
    mask[0, [0, 7, 23]] = True  # row 0 column 0, row 1 column 1, row 3 column 5
    other = images.clone()
    for row, column in ((0, 0), (1, 1), (3, 5)):
        other[0, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = torch.rand(8, 8)
    seen, changed = net(images, mask=mask), net(other, mask=mask)
    assert torch.equal(seen.cls, changed.cls)
    assert torch.equal(seen.patches, changed.patches)
    assert not torch.allclose(seen.cls[0], net(images).cls[0])
    assert torch.allclose(seen.cls[1], net(images).cls[1], atol=1e-6)


def test_masked_patches_keep_their_positions():
    net = masking_network()
    x, _ = net.embed_images(torch.rand(1, 1, 32, 32), torch.ones(1, 16, dtype=torch.bool))
    expected = net.mask_token + net.position.flatten(2)[0].T
    assert torch.allclose(x[0, net.prefix :], expected)


def test_the_token_learns_and_no_mask_leaves_the_result_alone():
    net = masking_network()
    images, mask = torch.rand(2, 1, 32, 32), torch.arange(16).expand(2, -1) < 5
    net(images, mask=mask).patches.square().sum().backward()
    assert net.mask_token.grad.abs().sum() > 0
    plain = masking_network(mask_token=False)
    assert set(net.state_dict()) - set(plain.state_dict()) == {"mask_token"}
    assert torch.equal(net(images).patches, plain(images).patches)


def test_nosn_is_what_the_paper_code_does():
    """Last block: x <- Attn(LN(x)), then x + MLP(x); every other block as ever."""
    torch.manual_seed(0)
    shape = {"width": 48, "depth": 2, "heads": 6, "patch": 8, "registers": 2, "image_size": 32}
    net = build_encoder(ViTSettings.from_values(shape | {"nosn": True, "drop_path": 0.5})).train()
    last = net.blocks[1]
    x = torch.randn(4, 6, 48)
    attended, _ = last.attention(last.norm1(x))
    with torch.no_grad():
        last.drop_path.drop_prob = 0.0
        assert torch.allclose(last(x)[0], attended + last.mlp(attended))
    names = set(net.state_dict())
    assert "blocks.0.norm2.weight" in names
    assert "blocks.1.norm2.weight" not in names


@pytest.mark.parametrize("source", [{}, {"source": "timm", "name": "vit_small_patch16_224"}])
def test_without_stochastic_depth_a_network_in_training_answers_alike(source):
    shape = {"width": 48, "depth": 2, "heads": 3, "patch": 8, "image_size": 32, "drop_path": 0.5}
    torch.manual_seed(0)
    net = build_encoder(ViTSettings.from_values(shape | source)).train()
    images = torch.rand(4, 1, 32, 32)
    assert not torch.equal(net(images).cls, net(images).cls)
    disable_drop_path(net)
    assert torch.equal(net(images).cls, net(images).cls)
    torch.testing.assert_close(net(images).cls, net.eval()(images).cls)


def test_drop_path_leaves_whole_samples_out_and_rescales_the_rest():
    torch.manual_seed(0)
    layer, x = DropPath(0.25), torch.rand(4000, 2, 3) + 1
    dropped = layer.train()(x)
    kept = (dropped != 0).all(dim=(1, 2))
    assert torch.equal(kept, (dropped != 0).any(dim=(1, 2)))
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.03)
    torch.testing.assert_close(dropped[kept], x[kept] / 0.75)
    assert layer.eval()(x) is x
    assert DropPath(0.0).train()(x) is x


def test_a_block_adds_its_scaled_branches():
    torch.manual_seed(0)
    block = Block(ViTSettings(width=24, heads=3, layer_scale=0.1, mlp_ratio=2.0), 0.0).eval()
    assert [layer.out_features for layer in block.mlp if isinstance(layer, nn.Linear)] == [48, 24]
    with torch.no_grad():
        block.scale2.mul_(3)
        x = torch.randn(2, 5, 24)
        middle = x + 0.1 * block.attention(block.norm1(x))[0]
        torch.testing.assert_close(block(x)[0], middle + 0.3 * block.mlp(block.norm2(middle)))
    without = Block(ViTSettings(width=24, heads=3), 0.0)
    assert without.scale1 is without.scale2 is None
    last = Block(ViTSettings(width=24, heads=3, layer_scale=0.1), 0.0, nosn=True)
    assert last.scale1 is None
    assert last.scale2.tolist() == pytest.approx([0.1] * 24)


def test_rates_of_stochastic_depth_rise_from_block_to_block():
    net = VisionTransformer(ViTSettings(width=24, depth=3, heads=3, image_size=32, drop_path=0.4, nosn=True))
    assert [block.drop_path.drop_prob for block in net.blocks] == pytest.approx([0, 0.2, 0.4])
    assert [block.nosn for block in net.blocks] == [False, False, True]


def test_the_cls_row_is_computed_on_demand_alone():
    net = network().eval()
    x, grid = net.embed_images(torch.rand(1, 1, 32, 32))
    assert net.step(0, x, grid)[1] is None
    assert net.step(0, x, grid, row=True)[1].shape == (1, 3, x.shape[1])
    with pytest.raises(ConfigError, match="no multiple of heads"):
        Attention(48, 5)


def test_positions_start_as_waves_of_row_and_column():
    """Of eight channels a quarter holds two rates, 1 and 1/100."""
    positions = build_sine_positions(8, 3, 4)[0]
    assert positions.shape == (8, 3, 4)
    for row in range(3):
        for column in range(4):
            expected = [f(value * rate) for value in (row, column) for f in (math.sin, math.cos) for rate in (1, 0.01)]
            assert positions[:, row, column].tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(build_sine_positions(6, 3, 4)[0], positions[:6])


def test_positions_are_resized_to_the_grid_of_the_view():
    net = network(registers=2).eval()
    x, grid = net.embed_images(torch.full((1, 1, 48, 40), net.mean.item()))
    assert grid == (6, 5)
    position = F.interpolate(net.position, size=(6, 5), mode="bicubic", antialias=True)
    expected = net.embed.bias + position.flatten(2)[0].T
    torch.testing.assert_close(x[0, 3:], expected)
    torch.testing.assert_close(x[0, :3], torch.cat([net.cls, net.registers], 1)[0])


def test_weights_start_small_and_biases_at_zero():
    net = VisionTransformer(ViTSettings(width=192, depth=2, heads=3, image_size=32, registers=4))
    for layer in (net.blocks[0].attention.qkv, net.blocks[1].mlp[2]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()
    assert net.registers.std().item() == pytest.approx(0.02, rel=0.2)
    assert net.cls.std().item() == pytest.approx(0.02, rel=0.3)
    assert not net.embed.bias.any()
    assert net.embed.weight.abs().max().item() == pytest.approx(math.sqrt(6 / (192 + 64)), rel=0.02)
    assert torch.equal(net.position.data, build_sine_positions(192, 4, 4))


def test_watched_attention_is_that_of_torch_and_its_rows_sum_to_one():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 5, 4)
    seen = []
    out = attend_with_callback(q, k, v, seen.append)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v))
    (attention,) = seen
    assert attention.shape == (2, 3, 5, 5)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3, 5))
    half = attend_with_callback(q.bfloat16(), k.bfloat16(), v.bfloat16(), seen.append)
    assert (half.dtype, seen[1].dtype) == (torch.bfloat16, torch.float32)
