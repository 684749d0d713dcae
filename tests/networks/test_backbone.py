"""What changes the function is written beside the weights and comes back."""

import json

import pytest
import torch

from medprior.errors import InputMissing
from medprior.networks import ViTSettings, build_encoder, load_backbone, load_weights, save_weights
from medprior.provenance import write_config

HEADS = {"left_lung": 2, "right_lung": 0, "heart": 5}
SHAPE = {"width": 48, "depth": 2, "heads": 6, "patch": 8, "registers": 2, "image_size": 32}
TIMM = {
    "source": "timm", "name": "vit_small_patch16_rope_224", "registers": 2,
    "width": 48, "depth": 2, "heads": 3, "patch": 8, "image_size": 32,
}  # fmt: skip


def written(path, options):
    settings = ViTSettings.from_values(SHAPE | options)
    torch.manual_seed(0)
    net = build_encoder(settings).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    path.mkdir()
    save_weights(path / "backbone.safetensors", net)
    facts = {"network": settings.model_dump(), "heads": HEADS, "view_size": 32}
    write_config(path, "pretrain", {}, outputs=("backbone.safetensors",), facts=facts)
    return net


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nosn": True},
        {"nosn": True, "layer_scale": 0.1},
        {"life": True},
        {"life": True, "life_aux_key": "repo", "life_norm": True},
        {"mask_token": True},
        {"life": True, "nosn": True, "mask_token": True, "life_aux_key": "repo"},
    ],
)
def test_round_trip(tmp_path, options):
    net = written(tmp_path / "b", options)
    again = load_backbone(tmp_path / "b")
    assert again.heads == HEADS
    assert again.network.settings == net.settings
    assert again.network.settings.model_dump().items() >= (SHAPE | options).items()
    images = torch.rand(2, 1, 40, 32)
    mask = torch.rand(2, 20) < 0.4 if net.settings.mask_token else None
    ours, theirs = net(images, True, mask), again.network(images, True, mask)
    for name in ("cls", "patches", "cls_logits", "cls_mass"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"life": True}, {"life_aux_key": "repo"}),
        ({"layer_scale": 0.1}, {"layer_scale": None}),
        ({"nosn": True}, {"nosn": False}),
        ({"mask_token": True}, {"mask_token": False}),
    ],
)
def test_the_record_decides_the_function(tmp_path, options, changed):
    """The same weights under another record are another function, or are refused."""
    net = written(tmp_path / "b", options)
    path = tmp_path / "b" / "config.json"
    record = json.loads(path.read_text())
    record["network"] |= changed
    path.write_text(json.dumps(record))
    if changed == {"life_aux_key": "repo"}:
        images = torch.rand(1, 1, 32, 32)
        assert not torch.equal(load_backbone(tmp_path / "b").network(images).cls, net(images).cls)
    else:
        with pytest.raises(InputMissing, match="do not fit"):
            load_backbone(tmp_path / "b")


def test_a_record_from_before_the_options_loads(tmp_path):
    net = written(tmp_path / "b", {})
    path = tmp_path / "b" / "config.json"
    record = json.loads(path.read_text())
    for key in ("mask_token", "life", "life_aux_key", "life_norm", "nosn"):
        del record["network"][key]
    path.write_text(json.dumps(record))
    images = torch.rand(1, 1, 32, 32)
    assert torch.equal(load_backbone(tmp_path / "b").network(images).cls, net(images).cls)


def test_round_trip_through_a_backbone_folder(tmp_path):
    torch.manual_seed(0)
    settings = ViTSettings.from_values(TIMM | {"mask_token": True, "drop_path": 0.1})
    net = build_encoder(settings).eval()
    save_weights(tmp_path / "backbone.safetensors", net)
    facts = {"network": settings.model_dump(), "heads": {"heart": 1}, "view_size": 32}
    write_config(tmp_path, "pretrain", {}, outputs=("backbone.safetensors",), facts=facts)
    again = load_backbone(tmp_path)
    images, mask = torch.rand(2, 1, 32, 48), torch.rand(2, 24) < 0.5
    ours, theirs = net(images, True, mask), again.network(images, True, mask)
    assert torch.equal(ours.cls, theirs.cls)
    assert torch.equal(ours.cls_logits, theirs.cls_logits)
    assert again.network.settings == settings


def test_weights_round_trip_and_refusals(tmp_path):
    net = build_encoder(ViTSettings(width=48, depth=2, heads=3, image_size=32))
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


def write_backbone(folder, **changes):
    """A small backbone; `changes` replace facts of its record."""
    torch.manual_seed(0)
    settings = ViTSettings(width=24, depth=1, heads=3, patch=8, image_size=32)
    save_weights(folder / "backbone.safetensors", build_encoder(settings))
    facts = {"network": settings.model_dump(), "heads": {"heart": 1}, "view_size": 48} | changes
    write_config(folder, "pretrain", {}, outputs=("backbone.safetensors",), facts=facts)
    return settings


def test_a_backbone_brings_heads_and_size_and_is_in_evaluation_mode(tmp_path):
    write_backbone(tmp_path)
    loaded = load_backbone(tmp_path)
    assert loaded.heads == {"heart": 1}
    assert loaded.size == 48
    assert not loaded.network.training
    assert loaded.config["stage"] == "pretrain"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": None}, "not one of `medprior pretrain`"),
        ({"view_size": "large"}, "not one of `medprior pretrain`"),
        ({"network": {"width": 24, "depth": 1, "heads": 3, "patch": 4, "image_size": 16}}, "do not fit"),
        ({"network": {"width": 48, "depth": 1, "heads": 3, "patch": 8, "image_size": 32}}, "larger than the weights"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(tmp_path, changes, message):
    write_backbone(tmp_path, **changes)
    with pytest.raises(InputMissing, match=message):
        load_backbone(tmp_path)


def test_replaced_damaged_and_missing_weights_are_refused(tmp_path):
    write_backbone(tmp_path)
    path = tmp_path / "backbone.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputMissing, match="digest"):
        load_backbone(tmp_path)
    path.write_bytes(b"no tensors")
    with pytest.raises(InputMissing, match="not readable as safetensors"):
        load_weights(path, None)
    path.unlink()
    with pytest.raises(InputMissing, match="missing"):
        load_backbone(tmp_path)
