import pytest
import torch

from medprior.errors import InputMissing
from medprior.networks import ViTSettings, build_encoder
from medprior.networks.config_checks import broken_config_error, check_network_size

# Blocks 4 * 12^2 + 2 * 4 * 12^2 = 1728, positions 2 * 2 * 12 = 48.
SMALL = ViTSettings(width=12, depth=1, heads=3, patch=8, image_size=16)


@pytest.mark.parametrize(("channels", "least"), [(0, 1776), (2, 1776 + 36)])
def test_the_weights_must_hold_as_many_numbers(channels, least):
    check_network_size(SMALL, {"all": torch.zeros(least)}, "here", channels)
    with pytest.raises(InputMissing, match="larger than the weights"):
        check_network_size(SMALL, {"all": torch.zeros(least - 1)}, "here", channels)


def test_a_wider_hidden_layer_counts():
    wide = SMALL.model_copy(update={"mlp_ratio": 5.0})
    with pytest.raises(InputMissing):
        check_network_size(wide, {"all": torch.zeros(1776 + 287)}, "here")
    check_network_size(wide, {"all": torch.zeros(1776 + 288)}, "here")


def test_there_are_at_least_as_many_tensors_as_blocks():
    deep = SMALL.model_copy(update={"depth": 3})
    check_network_size(deep, dict.fromkeys("abc", torch.zeros(10_000)), "here")
    with pytest.raises(InputMissing):
        check_network_size(deep, dict.fromkeys("ab", torch.zeros(10_000)), "here")


def test_an_architecture_of_timm_may_have_no_positions():
    wrapped = SMALL.model_copy(update={"source": "timm"})
    check_network_size(wrapped, {"all": torch.zeros(4 * 144)}, "here")
    with pytest.raises(InputMissing):
        check_network_size(wrapped, {"all": torch.zeros(4 * 144 - 1)}, "here")


@pytest.mark.parametrize("options", [{}, {"life": True}, {"mask_token": True, "layer_scale": 0.1}])
def test_a_network_fits_its_own_weights(options):
    settings = ViTSettings(width=24, depth=2, heads=3, patch=8, image_size=32, **options)
    check_network_size(settings, build_encoder(settings).state_dict(), "here")


def test_the_error_names_stage_kind_and_place():
    error = broken_config_error(KeyError("heads"), "folder", "finetune")
    assert "not one of `medprior finetune` (KeyError)" in str(error)
    assert "folder" in str(error)
    assert "run `medprior finetune` again" in str(error)
