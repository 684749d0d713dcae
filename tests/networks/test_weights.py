"""Weights from local files in four layouts give the answers of the model they came from."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from medprior.errors import ConfigError, InputMissing
from medprior.networks import build_encoder
from medprior.networks.weights import IMAGENET_STATISTICS, RAD_DINO_STATISTICS, load_local

GREY = (0.5,) * 3, (0.5,) * 3
HEADS = {"heads": 3}


def model(name="vit_small_patch16_224", depth=2, **options):
    """A small timm model for colour images with every weight random."""
    torch.manual_seed(0)
    made = timm.create_model(
        name, pretrained=False, num_classes=0, global_pool="token", embed_dim=48, depth=depth,
        num_heads=3, patch_size=8, img_size=32, dynamic_img_size=True, **options,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def written(tmp_path, tensors):
    path = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, path)
    return path


def same(settings, state, made, statistics, size=(32, 32)):
    """Our network on a grey image says what the model says on its three equal channels."""
    net = build_encoder(settings).eval()
    net.load_state_dict(state)
    images = torch.rand(2, 1, *size)
    mean, std = (torch.tensor(values)[:, None, None] for values in statistics)
    with torch.no_grad():
        expected = made.forward_features((images.expand(-1, 3, -1, -1) - mean) / std)
        tokens = net(images)
    assert torch.allclose(tokens.cls, expected[:, 0], atol=2e-5)
    assert torch.allclose(tokens.patches, expected[:, net.prefix :], atol=2e-5)
    return net


def facebook_dinov2(made, chunks=False):
    """Names of facebookresearch/dinov2: positions with an entry for CLS, registers, mask token."""
    tensors = dict(made.state_dict())
    first = torch.randn(1, 1, 48)
    tensors["cls_token"] = tensors["cls_token"] - first
    tensors["pos_embed"] = torch.cat([first, tensors["pos_embed"]], 1)
    tensors["register_tokens"] = tensors.pop("reg_token")
    tensors["mask_token"] = torch.randn(1, 48)
    if chunks:
        tensors = {
            key.replace("blocks.", "blocks.0.", 1) if key.startswith("blocks.") else key: value
            for key, value in tensors.items()
        }
    return tensors


def huggingface(made):
    """Names of Dinov2Model: queries, keys and values apart."""
    names = {
        "cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.": "embeddings.patch_embeddings.projection.", "norm.": "layernorm.",
    }  # fmt: skip
    inner = {
        "attn.proj.": "attention.output.dense.", "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
    }  # fmt: skip
    found = {"embeddings.mask_token": torch.randn(1, 48)}
    for key, value in made.state_dict().items():
        if key.startswith("blocks."):
            _, number, rest = key.split(".", 2)
            start = f"encoder.layer.{number}."
            if rest.startswith("attn.qkv."):
                for part, each in zip(("query", "key", "value"), value.chunk(3), strict=True):
                    found[f"{start}attention.attention.{part}.{rest.split('.')[-1]}"] = each
                continue
            for theirs, ours in inner.items():
                rest = rest.replace(theirs, ours)
            found[start + rest] = value
        else:
            for theirs, ours in names.items():
                if key.startswith(theirs):
                    found[key.replace(theirs, ours)] = value
    return found


@pytest.mark.parametrize("size", [(32, 32), (40, 48)])
@pytest.mark.parametrize("options", [{}, {"init_values": 0.1}, {"qkv_bias": False}])
def test_plain_timm_and_dino(tmp_path, options, size):
    made = model(**options)
    tensors = made.state_dict() | {"head.weight": torch.randn(5, 48), "head.bias": torch.randn(5)}
    settings, state = load_local(written(tmp_path, tensors), HEADS)
    assert settings.source == "medprior"
    assert (settings.registers, settings.image_size, settings.depth) == (0, 32, 2)
    same(settings, state, made, IMAGENET_STATISTICS, size)
    settings, state = load_local(written(tmp_path, tensors), HEADS, mean=GREY[0], std=GREY[1])
    assert (settings.mean, settings.std) == (0.5, 0.5)
    assert torch.allclose(state["embed.weight"], made.patch_embed.proj.weight.sum(1, keepdim=True))
    same(settings, state, made, GREY, size)


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_dino_with_a_wrapper_and_its_head(tmp_path, prefix):
    made = model()
    tensors = {prefix + key: value for key, value in made.state_dict().items()}
    tensors[f"{prefix.removesuffix('backbone.')}head.mlp.0.weight"] = torch.randn(3, 3)
    same(*load_local(written(tmp_path, tensors), HEADS), made, IMAGENET_STATISTICS)


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (40, 48)])
def test_facebook_dinov2_with_registers(tmp_path, chunks, size):
    made = model("vit_small_patch14_reg4_dinov2")
    path = written(tmp_path, facebook_dinov2(made, chunks))
    settings, state = load_local(path, HEADS)
    assert settings.registers == 4
    assert not settings.mask_token
    same(settings, state, made, IMAGENET_STATISTICS, size)


def test_the_mask_token_is_kept_when_asked_for(tmp_path):
    tensors = facebook_dinov2(model("vit_small_patch14_reg4_dinov2"))
    settings, state = load_local(written(tmp_path, tensors), HEADS | {"mask_token": True})
    assert settings.mask_token
    assert torch.equal(state["mask_token"], tensors["mask_token"][0])
    plain = written(tmp_path, model().state_dict())
    assert not load_local(plain, HEADS | {"mask_token": True})[1]["mask_token"].any()


@pytest.mark.parametrize("prefix", ["", "dinov2."])
def test_rad_dino(tmp_path, prefix):
    made = model(init_values=0.2)
    tensors = {prefix + key: value for key, value in huggingface(made).items()}
    settings, state = load_local(written(tmp_path, tensors), HEADS)
    assert settings.layer_scale is not None
    same(settings, state, made, RAD_DINO_STATISTICS, (48, 40))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_small_patch16_224", {"qk_norm": True}),
        ("vit_small_patch16_rope_224", {}),
        ("eva02_tiny_patch14_224", {}),
        ("vit_small_patch16_rope_ape_224", {}),
    ],
)
def test_architectures_of_timm(tmp_path, name, options):
    shape = {"width": 48, "depth": 2, "heads": 3, "patch": 8, "image_size": 32}
    asked = {"source": "timm", "name": name, "options": options} | shape
    made = model(name, **options)
    path = written(tmp_path, made.state_dict())
    record = timm.get_pretrained_cfg(name)
    settings, state = load_local(path, asked)
    assert settings.source == "timm"
    same(settings, state, made, (record.mean, record.std))
    if state.get("stem.pos_embed") is not None:
        settings, state = load_local(path, asked | {"image_size": 48})
        assert state["stem.pos_embed"].shape[1] >= 36
        same(settings, state, made, (record.mean, record.std), (48, 48))


def test_positions_are_resized_as_the_network_would(tmp_path):
    made = model()
    path = written(tmp_path, made.state_dict())
    settings, state = load_local(path, HEADS | {"image_size": 48})
    assert settings.image_size == 48
    assert state["position"].shape == (1, 48, 6, 6)
    same(settings, state, made, IMAGENET_STATISTICS, (48, 48))


def test_what_does_not_fit_is_named(tmp_path):
    normed = model(qk_norm=True).state_dict()
    with pytest.raises(ConfigError, match=r"left over \(blocks.0.attn.k_norm.bias"):
        load_local(written(tmp_path, normed), HEADS)
    plain = model().state_dict()
    short = {key: value for key, value in plain.items() if "blocks.1.mlp.fc2" not in key}
    with pytest.raises(ConfigError, match=r"2 missing \(blocks.1.mlp.2.bias"):
        load_local(written(tmp_path, short), HEADS)
    bent = plain | {"blocks.0.attn.proj.weight": torch.randn(48, 40)}
    with pytest.raises(ConfigError, match="another shape"):
        load_local(written(tmp_path, bent), HEADS)
    with pytest.raises(ConfigError, match="heads"):
        load_local(written(tmp_path, plain), {"heads": 5, "width": 48, "no_such_field": 1})
    with pytest.raises(ConfigError, match=r"missing \(blocks.2"):
        load_local(written(tmp_path, plain), HEADS | {"depth": 3})
    odd = plain | {"pos_embed": torch.randn(1, 14, 48)}
    with pytest.raises(ConfigError, match="square"):
        load_local(written(tmp_path, odd), HEADS)
    with pytest.raises(ConfigError, match="known layout"):
        load_local(written(tmp_path, {"conv1.weight": torch.randn(3, 3)}))
    with pytest.raises(ConfigError, match="mean and std"):
        load_local(written(tmp_path, plain), HEADS, mean=(0.5, 0.5), std=(0.2, 0.2))


def test_pickles_are_refused_and_missing_files_named(tmp_path):
    for name in ("dino.pth", "pytorch_model.bin", "model.pt"):
        path = tmp_path / name
        torch.save(model().state_dict(), path)
        with pytest.raises(ConfigError, match="save_file"):
            load_local(path)
    with pytest.raises(InputMissing):
        load_local(tmp_path / "none.safetensors")


def test_the_statistics_of_imagenet_are_timms():
    assert IMAGENET_STATISTICS == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
