"""Networks of timm in this project's files: settings, folders, copies, refusals."""

import copy

import pytest
import torch

from medprior.errors import ConfigError
from medprior.finetune.optimiser import build_parameter_groups
from medprior.finetune.settings import FinetuneSettings
from medprior.networks import ViTSettings, build_encoder, load_backbone, save_weights
from medprior.networks.decoders import Segmenter
from medprior.networks.heads import Classifier
from medprior.provenance import write_config

SHAPE = {"width": 48, "depth": 2, "heads": 3, "patch": 8, "image_size": 32}
TIMM = {"source": "timm", "name": "vit_small_patch16_rope_224", "registers": 2}


def test_the_shape_is_read_off_the_architecture():
    found = ViTSettings.checked({"source": "timm", "name": "vit_small_patch14_reg4_dinov2"})
    assert (found.width, found.depth, found.heads, found.patch) == (384, 12, 6, 14)
    assert (found.registers, found.image_size) == (4, 518)
    assert ViTSettings.checked(found.model_dump()) == found


def test_settings_of_timm_leave_the_random_state_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    ViTSettings.checked(SHAPE | TIMM)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": "timm"}, "no model"),
        ({"source": "timm", "name": "hf_hub:someone/model"}, "no model"),
        ({"source": "timm", "name": "resnet18"}, "resnet18"),
        ({"source": "timm", "name": "vit_small_patch16_18x2_224"}, "plain attention"),
        ({"source": "timm", "name": "vit_medium_patch16_gap_240"}, "vit_medium_patch16_gap_240"),
        (SHAPE | TIMM | {"life": True}, "life"),
        (SHAPE | TIMM | {"nosn": True, "layer_scale": 0.1}, "layer_scale, nosn"),
        (SHAPE | TIMM | {"options": {"no_such_argument": 1}}, "no_such_argument"),
        ({"name": "vit_small_patch16_224"}, "source=timm"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(ConfigError, match=message):
        ViTSettings.checked(values)


def test_round_trip_through_a_backbone_folder(tmp_path):
    torch.manual_seed(0)
    settings = ViTSettings.checked(SHAPE | TIMM | {"mask_token": True, "drop_path": 0.1})
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


def test_heads_decoders_copies_and_layer_decay():
    net = build_encoder(ViTSettings.checked(SHAPE | TIMM))
    twin = copy.deepcopy(net)
    images = torch.rand(2, 1, 32, 32)
    assert torch.equal(twin.eval()(images).cls, net.eval()(images).cls)
    model = Classifier(twin, 3, "pooled")
    model(images).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert Segmenter(net, 2)(images).shape == (2, 2, 32, 32)
    groups = build_parameter_groups(model, FinetuneSettings.checked({"layer_decay": 0.5}))
    scale = {id(p): g["scale"] for g in groups for p in g["params"]}
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    assert scale[id(twin.blocks[0].mlp.fc1.weight)] == 0.25
    assert scale[id(twin.blocks[1].mlp.fc1.weight)] == 0.5
    assert scale[id(twin.stem.patch_embed.proj.weight)] == 0.125
    assert scale[id(twin.norm.weight)] == scale[id(model.linear.weight)] == 1.0
    assert decay[id(twin.stem.reg_token)] == decay[id(twin.stem.cls_token)] == 0
    assert decay[id(twin.stem.patch_embed.proj.weight)] > 0


def test_float32_without_fused_attention_in_the_environment(monkeypatch):
    """The setting of timm that turns fused attention off does not hide the row."""
    from timm.layers import config

    monkeypatch.setattr(config, "_USE_FUSED_ATTN", 0)
    net = build_encoder(ViTSettings.checked(SHAPE | TIMM)).eval()
    assert net(torch.rand(1, 1, 32, 32), capture=True).cls_logits is not None
