import pytest
import torch

from medprior.errors import InputMissing
from medprior.networks import ViTSettings, build_encoder, load_backbone, load_weights, save_weights
from medprior.provenance import write_config

SHAPE = {"width": 48, "depth": 2, "heads": 3, "patch": 8, "image_size": 32}
TIMM = {"source": "timm", "name": "vit_small_patch16_rope_224", "registers": 2}


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
