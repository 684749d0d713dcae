import math

import pytest
import torch

from medprior.errors import ConfigError
from medprior.networks.vit_settings import ViTSettings
from medprior.networks.weight_conversion import (
    convert_tensor_name,
    convert_to_own_vit,
    convert_to_timm_vit,
    fold_to_one_channel,
    infer_block_shape,
    infer_grid_side,
    interpolate_position_embedding,
)


def test_folding_equals_three_equal_channels():
    torch.manual_seed(0)
    weight, bias = torch.randn(5, 3, 2, 2), torch.randn(5)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    tensors = {"patch_embed.proj.weight": weight, "patch_embed.proj.bias": bias}
    folded, (middle, width) = fold_to_one_channel(tensors, mean, std, "file")
    assert (middle, width) == pytest.approx((0.4, 0.25))
    patch = torch.rand(2, 2)
    channels = torch.stack([(patch - m) / s for m, s in zip(mean, std, strict=True)])
    expected = (weight * channels).sum((1, 2, 3)) + bias
    grey = (patch - middle) / width
    answer = (folded["patch_embed.proj.weight"][:, 0] * grey).sum((1, 2)) + folded["patch_embed.proj.bias"]
    torch.testing.assert_close(answer, expected)


def test_equal_channels_are_a_plain_sum_and_a_missing_bias_is_zero():
    tensors = {"patch_embed.proj.weight": torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1), "cls_token": torch.ones(1)}
    folded, grey = fold_to_one_channel(tensors, (0.5,), (0.25,), "file")
    assert folded["patch_embed.proj.weight"].tolist() == [[[[7.0]]]]
    assert folded["patch_embed.proj.bias"].tolist() == [0]
    assert grey == (0.5, 0.25)
    assert "cls_token" in folded


@pytest.mark.parametrize(("mean", "std"), [((0.5, 0.5), (0.2, 0.2)), ((0.5,), (0.2,) * 3)])
def test_statistics_that_do_not_fit_the_channels_are_refused(mean, std):
    tensors = {"patch_embed.proj.weight": torch.zeros(1, 3, 1, 1)}
    with pytest.raises(ConfigError, match=f"1 or 3 values each.*{len(mean)} and {len(std)}"):
        fold_to_one_channel(tensors, mean, std, "file")
    with pytest.raises(ConfigError, match="no patch embedding"):
        fold_to_one_channel({}, (0.5,), (0.2,), "file")


@pytest.mark.parametrize(("tokens", "shape"), [(196, (14, 0)), (197, (14, 1)), (1, (1, 0)), (2, (1, 1))])
def test_side_of_the_grid_and_tokens_before_it(tokens, shape):
    assert infer_grid_side(tokens, "file") == shape


@pytest.mark.parametrize("tokens", [0, 3, 198])
def test_no_square_grid_is_refused(tokens):
    with pytest.raises(ConfigError, match=f"no square grid.*{tokens} tokens"):
        infer_grid_side(tokens, "file")


def test_a_position_is_resized_to_the_grid_of_the_image():
    position = torch.randn(1, 3, 4, 4)
    assert interpolate_position_embedding(position, ViTSettings(image_size=32, patch=8)) is position
    ramp = torch.linspace(0, 1, 4).expand(1, 1, 4, 4)
    larger = interpolate_position_embedding(ramp, ViTSettings(image_size=64, patch=8))
    assert larger.shape == (1, 1, 8, 8)
    assert (larger[0, 0, 0].diff() > 0).all()
    torch.testing.assert_close(larger[0, 0, 0], larger[0, 0, 7])


def test_shape_of_the_blocks_is_read_off_their_tensors():
    tensors = {f"blocks.{n}.norm1.weight": torch.zeros(1) for n in (0, 2, 10)}
    assert infer_block_shape(tensors, 384) == {"depth": 11, "mlp_ratio": 4.0, "layer_scale": None, "heads": 6}
    tensors["blocks.0.mlp.fc1.weight"] = torch.zeros(170, 64)
    tensors["blocks.0.ls1.gamma"] = torch.zeros(64)
    shape = infer_block_shape(tensors, 64)
    assert int(64 * shape["mlp_ratio"]) == 170
    assert shape["layer_scale"] == 1e-5
    assert shape["heads"] == 1
    assert infer_block_shape({}, 48) == {"depth": 1, "mlp_ratio": 4.0, "layer_scale": None, "heads": 1}


def test_a_hidden_width_survives_rounding():
    """Where width * (hidden / width) falls short of hidden, the ratio is nudged up."""
    for width, hidden in ((13, 15), (19, 53), (14, 61)):
        ratio = infer_block_shape({"blocks.0.mlp.fc1.weight": torch.zeros(hidden, width)}, width)["mlp_ratio"]
        assert int(width * ratio) == hidden
        assert ratio == pytest.approx(hidden / width)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("blocks.3.attn.qkv.weight", "blocks.3.attention.qkv.weight"),
        ("blocks.3.attn.proj.bias", "blocks.3.attention.project.bias"),
        ("blocks.12.mlp.fc1.weight", "blocks.12.mlp.0.weight"),
        ("blocks.12.mlp.fc2.weight", "blocks.12.mlp.2.weight"),
        ("blocks.0.ls1.gamma", "blocks.0.scale1"),
        ("blocks.0.ls2.gamma", "blocks.0.scale2"),
        ("blocks.0.norm2.bias", "blocks.0.norm2.bias"),
        ("blocks.0.attn.k_norm.bias", "blocks.0.attn.k_norm.bias"),
        ("norm.weight", "norm.weight"),
    ],
)
def test_names_inside_blocks(theirs, ours):
    assert convert_tensor_name(theirs) == ours


def test_a_position_of_cls_is_added_to_cls():
    width = 12
    position = torch.arange(5.0)[None, :, None].expand(1, 5, width)
    tensors = {
        "cls_token": torch.full((1, 1, width), 10.0), "pos_embed": position + 1,
        "patch_embed.proj.weight": torch.zeros(width, 1, 8, 8), "patch_embed.proj.bias": torch.zeros(width),
    }  # fmt: skip
    settings, state = convert_to_own_vit(tensors, {"heads": 3}, (0.5, 0.25), "file")
    assert (state["cls"] == 11).all()
    assert state["position"][0, 0].tolist() == [[2, 3], [4, 5]]
    assert settings.image_size == 16
    assert state["registers"].shape == (1, 0, width)
    assert "mask_token" not in state
    assert math.isclose(float(state["std"]), 0.25)
    del tensors["pos_embed"]
    with pytest.raises(ConfigError, match="no position embedding"):
        convert_to_own_vit(tensors, {"heads": 3}, (0.5, 0.25), "file")


def test_a_timm_state_keeps_its_blocks_and_resizes_its_positions():
    width, shape = 48, {"width": 48, "depth": 2, "heads": 3, "patch": 8, "image_size": 32}
    network = {"source": "timm", "name": "vit_small_patch16_224"} | shape
    tensors = {
        "blocks.0.attn.qkv.bias": torch.full((144,), 2.0), "norm.weight": torch.full((width,), 3.0),
        "cls_token": torch.full((1, 1, width), 4.0), "mask_token": torch.full((1, 1, width), 5.0),
        "pos_embed": torch.cat([torch.full((1, 1, width), 9.0), torch.full((1, 4, width), 7.0)], 1),
    }  # fmt: skip
    settings, state = convert_to_timm_vit(tensors, network | {"mask_token": True}, (0.5, 0.25))
    assert (settings.mean, settings.std, settings.name) == (0.5, 0.25, "vit_small_patch16_224")
    assert (float(state["mean"]), float(state["std"])) == (0.5, 0.25)
    assert state["mask_token"].tolist() == [5.0] * width
    assert state["stem.pos_embed"].shape == (1, 1 + 16, width)
    assert (state["stem.pos_embed"][0, 0] == 9).all()
    torch.testing.assert_close(state["stem.pos_embed"][:, 1:], torch.full((1, 16, width), 7.0))
    kept = {"blocks.0.attn.qkv.bias": 2, "norm.weight": 3, "stem.cls_token": 4}
    assert {name: float(state[name].flatten()[0]) for name in kept} == kept
    assert state.keys() == {"mean", "std", "mask_token", "stem.pos_embed", *kept}
    del tensors["mask_token"]
    _, state = convert_to_timm_vit(tensors, network | {"mask_token": True}, (0.5, 0.25))
    assert not state["mask_token"].any()
    own, state = convert_to_timm_vit(tensors, network | {"mean": 0.1}, (0.5, 0.25))
    assert own.mean == 0.1  # what is asked for counts
    assert "mask_token" not in state
