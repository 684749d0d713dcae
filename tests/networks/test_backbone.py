"""What changes the function is written beside the weights and comes back."""

import json

import pytest
import torch

from medprior.errors import InputMissing
from medprior.networks import ViTSettings, build_encoder, load_backbone, save_weights
from medprior.provenance import write_config

HEADS = {"left_lung": 2, "right_lung": 0, "heart": 5}
SHAPE = {"width": 48, "depth": 2, "heads": 6, "patch": 8, "registers": 2, "image_size": 32}


def written(path, options):
    settings = ViTSettings.checked(SHAPE | options)
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


def test_nosn_is_what_the_paper_code_does():
    """Last block: x <- Attn(LN(x)), then x + MLP(x); every other block as ever."""
    torch.manual_seed(0)
    net = build_encoder(ViTSettings.checked(SHAPE | {"nosn": True, "drop_path": 0.5})).train()
    last = net.blocks[1]
    x = torch.randn(4, 6, 48)
    attended, _ = last.attention(last.norm1(x))
    with torch.no_grad():
        last.drop_path.rate = 0.0
        assert torch.allclose(last(x)[0], attended + last.mlp(attended))
    names = set(net.state_dict())
    assert "blocks.0.norm2.weight" in names
    assert "blocks.1.norm2.weight" not in names
