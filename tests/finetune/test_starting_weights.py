"""Fine-tuning from a file of published weights: the network starts from them, and the model says what was loaded."""

import json

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from medprior.cli import main
from medprior.errors import ConfigError, InputMissing
from medprior.finetune import FinetuneSettings, load_finetuned_model
from medprior.finetune.starting_weights import format_loaded_weights, load_starting_weights, resolve_weights_path
from medprior.networks import VisionTransformer, ViTSettings, save_weights
from medprior.provenance import sha256_file, write_config

SETTINGS = {"size": 32, "source_size": 40, "epochs": 1, "lr": 1e-12, "final_lr": 0, "device": "cpu", "drop_path": 0.0}


def settings_of(**changes):
    return FinetuneSettings.from_values(SETTINGS | changes)


@pytest.fixture(scope="module")
def vit_file(tmp_path_factory):
    """A Vision Transformer for colour images as timm saves it, with a classifier."""
    torch.manual_seed(0)
    network = timm.create_model(
        "vit_small_patch16_224", pretrained=False, num_classes=5, embed_dim=48, depth=2, num_heads=3,
        patch_size=8, img_size=32,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("vit") / "vit.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def cnn_file(tmp_path_factory):
    """A CNN for colour images as timm saves it, with a classifier."""
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=5)
    path = tmp_path_factory.mktemp("cnn") / "cnn.safetensors"
    save_file(network.state_dict(), path)
    return path


def finetune(cohort, out, backbone, **settings):
    options = [part for name, value in (SETTINGS | settings).items() for part in ("--set", f"{name}={value}")]
    arguments = ["finetune", cohort.path, out, "--task", "classification", "--backbone", backbone, *options]
    assert main([*map(str, arguments), "--no-tracking"]) == 0
    return json.loads((out / "config.json").read_text())


def test_a_vision_transformer_from_a_file(cohort, vit_file, tmp_path, capsys):
    record = finetune(cohort, tmp_path / "m", vit_file, **{"network.heads": 3})
    stored, trained = load_file(vit_file), load_file(tmp_path / "m" / "model.safetensors")
    blocks = [name for name in stored if name.endswith("attn.qkv.weight")]
    assert len(blocks) == 2
    for number, name in enumerate(blocks):
        torch.testing.assert_close(
            trained[f"vit.blocks.{number}.attention.qkv.weight"], stored[name], atol=1e-6, rtol=0
        )
    assert record["initial_weights"] == {
        "layout": "timm", "tensors": len(stored) - 2, "left_out": ["head.bias", "head.weight"],
    }  # fmt: skip
    assert record["inputs"]["backbone"] == sha256_file(vit_file)
    assert record["settings"]["layer_decay"] == 0.75
    assert record["network"]["mean"] == pytest.approx((0.485 + 0.456 + 0.406) / 3)
    assert vit_file.name not in json.dumps(record)
    assert "layout timm; 2 left out (head.bias, head.weight)" in capsys.readouterr().out
    assert load_finetuned_model(tmp_path / "m").task == "classification"


def test_a_cnn_from_a_file(cohort, cnn_file, tmp_path, capsys):
    record = finetune(cohort, tmp_path / "m", cnn_file, architecture="test_resnet", size=64, source_size=64)
    stored, trained = load_file(cnn_file), load_file(tmp_path / "m" / "model.safetensors")
    name = "layer1.0.conv1.weight"
    torch.testing.assert_close(trained[f"body.{name}"], stored[name], atol=1e-6, rtol=0)
    assert record["initial_weights"]["left_out"] == ["fc.bias", "fc.weight"]
    assert record["initial_weights"]["layout"] == record["network"]["architecture"] == "test_resnet"
    statistics = timm.get_pretrained_cfg("test_resnet")  # timm's record of it
    assert record["network"]["std"] == pytest.approx(sum(statistics.std) / 3)
    assert record["settings"]["layer_decay"] == 1.0
    assert "layout test_resnet; 2 left out" in capsys.readouterr().out
    model = load_finetuned_model(tmp_path / "m")
    assert model.network.mean.item() == pytest.approx(sum(statistics.mean) / 3)


def test_positions_follow_the_view_and_the_file_says_the_rest(vit_file):
    weights, settings = load_starting_weights(vit_file, settings_of(size=48, network={"heads": 3}))
    assert weights.backbone.size == settings.network.image_size == 48
    assert (settings.network.width, settings.network.depth, settings.network.patch) == (48, 2, 8)
    weights, settings = load_starting_weights(vit_file, settings_of(size=None, network={"heads": 3}))
    assert weights.backbone.size == 32


def test_random_weights_and_a_backbone_leave_the_settings_alone(tmp_path):
    settings = settings_of()
    assert load_starting_weights(None, settings) == (load_starting_weights(None, settings)[0], settings)
    shape = ViTSettings.from_values({"width": 24, "depth": 1, "heads": 3, "image_size": 32})
    save_weights(tmp_path / "backbone.safetensors", VisionTransformer(shape))
    facts = {"network": shape.model_dump(), "heads": {"heart": 1}, "view_size": 32}
    write_config(tmp_path, "pretrain", {}, outputs=("backbone.safetensors",), facts=facts)
    weights, unchanged = load_starting_weights(tmp_path, settings)
    assert unchanged is settings
    assert weights.backbone.heads == {"heart": 1}
    assert weights.facts == {}


def test_a_backbone_is_found_by_its_weights_file(tmp_path):
    for folder in ("with", "without"):
        (tmp_path / folder).mkdir()
    (tmp_path / "with" / "config.json").write_text("{}")
    assert resolve_weights_path(tmp_path / "with" / "backbone.safetensors") == tmp_path / "with"
    assert resolve_weights_path(tmp_path / "with") == tmp_path / "with"
    bare = tmp_path / "without" / "backbone.safetensors"
    assert resolve_weights_path(bare) == bare


def test_other_files_are_refused(tmp_path, vit_file, cnn_file):
    (tmp_path / "weights.pth").write_bytes(b"x")
    (tmp_path / "damaged.safetensors").write_bytes(b"x" * 40)
    for path, error, words in (
        (tmp_path / "weights.pth", ConfigError, "only safetensors are read"),
        (tmp_path / "damaged.safetensors", InputMissing, "not readable as safetensors"),
        (tmp_path / "none.safetensors", InputMissing, "weights are missing"),
        (tmp_path / "none", InputMissing, "no finished result"),
        (cnn_file, ConfigError, "no Vision Transformer in a known layout"),
    ):
        with pytest.raises(error, match=words):
            load_starting_weights(path, settings_of())
    with pytest.raises(ConfigError, match="no weights of test_resnet"):
        load_starting_weights(vit_file, settings_of(architecture="test_resnet"))
    with pytest.raises(ConfigError, match="one of the two"):
        load_starting_weights(tmp_path / "none", settings_of(architecture="test_resnet"))


def test_a_line_lists_three_names_at_most():
    facts = {"layout": "timm", "tensors": 7, "left_out": []}
    assert format_loaded_weights(facts) == "weights: 7 tensors loaded, layout timm; 0 left out"
    listed = format_loaded_weights(facts | {"left_out": list("abcd")})
    assert listed.endswith("4 left out (a, b, c, ...)")
