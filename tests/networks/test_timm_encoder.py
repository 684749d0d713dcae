"""Networks of timm behind our interface: same tokens, masks, copies."""

import copy

import pytest
import torch

from medprior.finetune.optimiser import build_parameter_groups
from medprior.finetune.settings import FinetuneSettings
from medprior.networks import ViTSettings, build_encoder
from medprior.networks.decoders import Segmenter
from medprior.networks.heads import Classifier

from .encoder_cases import CASES, build_case, build_perturbed
from .encoder_cases import TIMM as TIMM_CASES

SHAPE = {"width": 48, "depth": 2, "heads": 3, "patch": 8, "image_size": 32}
TIMM = {"source": "timm", "name": "vit_small_patch16_rope_224", "registers": 2}


def test_heads_decoders_copies_and_layer_decay():
    net = build_encoder(ViTSettings.from_values(SHAPE | TIMM))
    twin = copy.deepcopy(net)
    images = torch.rand(2, 1, 32, 32)
    assert torch.equal(twin.eval()(images).cls, net.eval()(images).cls)
    model = Classifier(twin, 3, "pooled")
    model(images).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert Segmenter(net, 2)(images).shape == (2, 2, 32, 32)
    groups = build_parameter_groups(model, FinetuneSettings.from_values({"layer_decay": 0.5}))
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
    net = build_encoder(ViTSettings.from_values(SHAPE | TIMM)).eval()
    assert net(torch.rand(1, 1, 32, 32), capture=True).cls_logits is not None


@pytest.mark.parametrize("case", TIMM_CASES)
def test_the_wrapped_model_is_timms_own(case):
    """Same weights in a model that timm makes: same tokens after the last norm."""
    import timm

    net = build_perturbed(case).float()
    options = TIMM_CASES[case].get("options", {})
    reg = {"num_reg_tokens": 2} if case == "rope_registers" else {}
    model = timm.create_model(
        TIMM_CASES[case]["name"], pretrained=False, num_classes=0, in_chans=1, global_pool="token",
        img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, **options, **reg,
    ).eval()  # fmt: skip
    names = net.state_dict()
    model.load_state_dict({
        key: names[key if key.startswith(("blocks.", "norm.")) else f"stem.{key}"]
        for key in model.state_dict()
    })  # fmt: skip
    images = torch.rand(2, 1, 32, 32)
    tokens = net(images)
    expected = model.forward_features((images - 0.5) / 0.25)
    assert torch.allclose(tokens.cls, expected[:, 0], atol=1e-5)
    assert torch.allclose(tokens.patches, expected[:, model.num_prefix_tokens :], atol=1e-5)
    assert len(model.state_dict()) + 2 == len(names)


@pytest.mark.parametrize("case", [key for key, value in CASES.items() if "source" in value])
def test_masks_in_wrapped_models(case):
    net = build_case(case, mask_token=True).eval()
    images = torch.rand(1, 1, 32, 32)
    mask = torch.arange(16)[None] == 5  # row 1, column 1
    other = images.clone()
    other[..., 8:16, 8:16] = 0
    assert torch.equal(net(images, mask=mask).patches, net(other, mask=mask).patches)
    assert not torch.allclose(net(images).patches, net(other).patches)
