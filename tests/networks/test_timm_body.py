import pytest
import torch

from medprior.errors import ConfigError
from medprior.networks import ViTSettings
from medprior.networks.timm_body import build_timm_body, is_plain_vit, refuse_file_options

SHAPE = {"width": 48, "depth": 2, "heads": 3, "patch": 8, "image_size": 32}
TIMM = {"source": "timm", "name": "vit_small_patch16_rope_224", "registers": 2}


def test_the_shape_is_read_off_the_architecture():
    settings = ViTSettings.from_values({"source": "timm", "name": "vit_small_patch14_reg4_dinov2"})
    assert (settings.width, settings.depth, settings.heads, settings.patch) == (384, 12, 6, 14)
    assert (settings.registers, settings.image_size) == (4, 518)
    assert ViTSettings.from_values(settings.model_dump()) == settings


def test_settings_of_timm_leave_the_random_state_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    ViTSettings.from_values(SHAPE | TIMM)
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
def test_what_timm_does_not_make_so_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        ViTSettings.from_values(values)


@pytest.mark.parametrize("option", ["checkpoint_path", "pretrained", "pretrained_cfg", "cache_dir"])
def test_options_that_read_files_or_networks_are_refused(option):
    with pytest.raises(ValueError, match=f"may not name weights: {option}"):
        refuse_file_options({"qk_norm": True, option: "x"})
    with pytest.raises(ConfigError, match="may not name weights"):
        ViTSettings.from_values(SHAPE | TIMM | {"options": {option: "x"}})
    refuse_file_options({"qk_norm": True})


def test_a_body_takes_one_channel_and_always_fuses():
    body = build_timm_body(SHAPE | TIMM | {"drop_path": 0.2})
    assert body.patch_embed.proj.weight.shape == (48, 1, 8, 8)
    assert body.num_prefix_tokens == 3
    assert [block.attn.fused_attn for block in body.blocks] == [True, True]
    assert body.blocks[1].drop_path1.drop_prob == pytest.approx(0.2)
    assert is_plain_vit(body)
    body.cls_token = None
    assert not is_plain_vit(body)


def test_a_field_given_beside_the_name_goes_before_the_architecture():
    settings = ViTSettings.from_values({"source": "timm", "name": "vit_small_patch16_224", "depth": 3, "mean": 0.1})
    assert (settings.depth, settings.width, settings.registers, settings.mean) == (3, 384, 0, 0.1)
