"""Pretraining that starts from weights on this machine."""

import pytest
import torch

from medprior.errors import ConfigError, InputMissing
from medprior.networks import ViTSettings, build_encoder, load_backbone, save_weights
from medprior.pretrain import Pretraining, PretrainSettings, pretrain_backbone
from medprior.pretrain.initial_weights import compute_state_digest, find_result_folder, load_initial_weights
from medprior.provenance import write_config
from medprior.settings import merge_mappings

from .runs import TINY_RUN, run_settings


@pytest.fixture(scope="module")
def first(phantom_cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("initial") / "first"
    pretrain_backbone(phantom_cohort, folder, settings=run_settings(steps=3))
    return folder


def without_shape(**changes):
    values = {k: v for k, v in TINY_RUN.items() if k != "network"}
    return PretrainSettings.from_values(merge_mappings(values, changes))


@pytest.mark.parametrize("name", ["", "backbone.safetensors"])
def test_student_and_teacher_start_from_a_backbone(first, phantom_cohort, tmp_path, name):
    settings = without_shape(recipe="ibot", init=str(first / name), crops={"global_size": 48})
    run = Pretraining(phantom_cohort, tmp_path / "out", settings=settings)
    wanted = load_backbone(first).network.state_dict()
    for net in (run.trainer.learner.student, run.trainer.learner.teacher):
        state = net.backbone.state_dict()
        assert all(torch.equal(state[key], wanted[key]) for key in wanted)
    assert run.settings.network.width == 24
    assert run.settings.network.mask_token
    run.run()
    again = load_backbone(tmp_path / "out")
    text = (tmp_path / "out" / "config.json").read_text()
    assert str(first) not in text
    assert "sha256:" in text
    assert again.network.settings.mean == load_backbone(first).network.settings.mean


def test_other_shapes_and_files_are_refused(first, tmp_path):
    with pytest.raises(ConfigError, match=r"another network.*width=24.*width=48"):
        load_initial_weights(first, without_shape(network={"width": 48}))
    (tmp_path / "weights.pth").write_bytes(b"x")
    with pytest.raises(ConfigError, match="safetensors"):
        load_initial_weights(tmp_path / "weights.pth", without_shape())
    with pytest.raises(InputMissing):
        load_initial_weights(tmp_path / "none.safetensors", without_shape())
    with pytest.raises(InputMissing):
        load_initial_weights(tmp_path / "none" / "backbone.safetensors", without_shape())


def test_weights_in_timms_layout(phantom_cohort, tmp_path):
    """A file with three colour channels, as timm saves them."""
    import timm
    from safetensors.torch import save_file

    shape = {"embed_dim": 48, "depth": 2, "num_heads": 3, "patch_size": 8, "img_size": 32}
    torch.manual_seed(0)
    body = timm.create_model("vit_tiny_patch16_224", num_classes=0, **shape)
    save_file(body.state_dict(), tmp_path / "weights.safetensors")
    settings = without_shape(init=str(tmp_path / "weights.safetensors"), network={"heads": 3})
    run = Pretraining(phantom_cohort, tmp_path / "out", settings=settings)
    backbone = run.trainer.learner.teacher.backbone
    assert (backbone.settings.width, backbone.settings.heads) == (48, 3)
    weight = dict(backbone.named_parameters())["blocks.0.mlp.0.weight"]
    assert torch.equal(weight, body.blocks[0].mlp.fc1.weight)


def test_a_digest_is_of_names_and_values():
    state = {"a": torch.ones(2), "b": torch.zeros(1)}
    digest = compute_state_digest(state)
    assert compute_state_digest(dict(reversed(state.items()))) == digest
    assert compute_state_digest({name: value.bfloat16() for name, value in state.items()}) == digest
    assert compute_state_digest({"a": torch.ones(2), "c": torch.zeros(1)}) != digest
    assert compute_state_digest({"a": torch.ones(2), "b": torch.full((1,), 1e-6)}) != digest


def test_a_backbone_is_named_by_its_folder_or_its_weights(tmp_path):
    assert find_result_folder(tmp_path / "run") == tmp_path / "run"
    assert find_result_folder(tmp_path / "run" / "backbone.safetensors") == tmp_path / "run"
    assert find_result_folder(tmp_path / "other.safetensors") == tmp_path / "other.safetensors"


def write_backbone(folder, **values):
    settings = ViTSettings.from_values({"width": 24, "depth": 1, "heads": 6, "registers": 1, "image_size": 32} | values)
    torch.manual_seed(0)
    folder.mkdir()
    save_weights(folder / "backbone.safetensors", build_encoder(settings))
    facts = {"network": settings.model_dump(), "heads": {}, "view_size": 32}
    write_config(folder, "pretrain", {}, outputs=("backbone.safetensors",), facts=facts)
    return folder


def test_the_mask_token_comes_and_goes_with_the_masks(tmp_path):
    masked = write_backbone(tmp_path / "masked", mask_token=True)
    plain = write_backbone(tmp_path / "plain")
    network, state = load_initial_weights(masked, without_shape())
    assert not network.mask_token
    assert "mask_token" not in state
    network, state = load_initial_weights(plain, without_shape(recipe="ibot"))
    assert network.mask_token
    assert torch.equal(state["mask_token"], torch.zeros(24))
    _, state = load_initial_weights(masked, without_shape(recipe="ibot"))
    assert torch.equal(state["mask_token"], load_backbone(masked).network.mask_token)


def test_what_the_weights_do_not_fix_may_differ(tmp_path):
    folder = write_backbone(tmp_path / "b", mean=0.25)
    network, _ = load_initial_weights(folder, without_shape(network={"drop_path": 0.25, "mean": 0.75, "width": 24}))
    assert (network.drop_path, network.mean, network.width) == (0.25, 0.25, 24)
    with pytest.raises(ConfigError, match=r"network\.depth, network\.registers.*depth=1, registers=1.*registers=0"):
        load_initial_weights(folder, without_shape(network={"depth": 3, "registers": 0}))
