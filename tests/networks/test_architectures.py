import copy
import warnings

import pytest
import torch

from medprior.errors import ConfigError, InputMissing
from medprior.networks.architectures import build_cnn, check_view_size, check_weight_shapes
from medprior.networks.attention import compute_attention_maps
from medprior.networks.convolutional import ConvSettings

CLASSIFIERS = [("densenet121", 1024), ("test_resnet", 96), ("convnext_atto", 320)]
UNETS = [("unet", 256), ("basic_unet", 256)]


def build_checked(name, task, outputs=3):
    torch.manual_seed(0)
    settings = ConvSettings(architecture=name, mean=0.4, std=0.2)
    check_view_size(settings, task, outputs, 64)
    return build_cnn(settings, task, outputs).eval()


@pytest.mark.parametrize(("name", "width"), CLASSIFIERS)
def test_classifiers_answer_from_their_own_deepest_map(name, width):
    network, images = build_checked(name, "classification"), torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        logits, tokens = network.forward_with_tokens(images)
        assert torch.equal(network(images), logits)
        assert torch.equal(network.body((images - 0.4) / 0.2), logits)
    assert logits.shape == (2, 3)
    assert tokens.patches.shape == (2, 4, width)
    torch.testing.assert_close(tokens.cls, tokens.patches.mean(1))
    if name == "densenet121":
        pooled = network.body.features((images - 0.4) / 0.2).relu().mean((2, 3))
        torch.testing.assert_close(network.body.class_layers.out(pooled), logits)


@pytest.mark.parametrize(("name", "width"), UNETS)
def test_unets_answer_pixel_by_pixel(name, width):
    network, images = build_checked(name, "segmentation"), torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        logits, tokens = network.forward_with_tokens(images)
        assert torch.equal(network(images), logits)
    assert logits.shape == (2, 3, 64, 64)
    assert tokens.patches.shape == (2, 16, width)
    assert tokens.grid == (4, 4)
    other = copy.deepcopy(network)
    other.body.requires_grad_(False).apply(lambda m: [p.zero_() for p in m.parameters(False)])
    assert torch.equal(network.forward_with_tokens(images)[0], logits), "a copy shares nothing"
    assert not torch.equal(other.forward_with_tokens(images)[0], logits)


@pytest.mark.parametrize("name", ["unet", "basic_unet"])
def test_a_pass_leaves_no_hook_behind(name):
    network = build_checked(name, "segmentation")
    network.forward_with_tokens(torch.rand(1, 1, 64, 64))
    assert not any(module._forward_hooks for module in network.modules())


def test_layers_of_the_unet_stay_those_of_written_models():
    """Residual units of two convolutions; channels double from 16 to 256 while the sides halve."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*len.strides.*")  # MONAI leaves out those it has no channels for
        state = build_checked("unet", "segmentation").state_dict()
    widths = {len(value) for name, value in state.items() if name.endswith("unit0.conv.weight")}
    assert widths == {3, 16, 32, 64, 128, 256}
    assert {name.split("conv.unit")[1][0] for name in state if ".conv.unit" in name} == {"0", "1"}


def test_there_is_no_attention_and_it_says_so_in_shapes():
    network = build_checked("test_resnet", "classification")
    assert compute_attention_maps(network.vit, torch.rand(2, 1, 64, 64)).shape == (2, 0, 2, 2)


@pytest.mark.parametrize(("name", "task", "size", "message"), [
    ("densenet999", "classification", 64, "unknown CNN architecture for classification"),
    ("resnet18", "segmentation", 64, "unknown CNN architecture for segmentation"),
    ("unet", "classification", 64, "unknown CNN architecture for classification"),
    ("vit_tiny_patch16_224", "classification", 224, "does not give a square feature map"),
    ("swin_tiny_patch4_window7_224", "classification", 224, "does not give a square feature map"),
    ("unet", "segmentation", 40, "does not give a square feature map"),
    ("resnet18", "classification", 32, "too small for resnet18"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(name, task, size, message):
    with pytest.raises(ConfigError, match=message):
        check_view_size(ConvSettings(architecture=name), task, 2, size)


def test_a_forged_architecture_is_refused_before_anything_large_is_made(monkeypatch):
    tensors = build_checked("test_resnet", "classification").state_dict()
    where = "model"
    check_weight_shapes(ConvSettings(architecture="test_resnet"), "classification", 3, tensors, where)
    made_on = []
    plain = torch.nn.Conv2d.reset_parameters

    def noted(layer):
        made_on.append(layer.weight.device.type)
        plain(layer)

    monkeypatch.setattr(torch.nn.Conv2d, "reset_parameters", noted)
    for name, outputs in (("convnext_xxlarge", 3), ("test_resnet", 4), ("densenet121", 10**9)):
        settings = ConvSettings(architecture=name)
        with pytest.raises(InputMissing, match="do not fit the recorded architecture"):
            check_weight_shapes(settings, "classification", outputs, tensors, where)
    assert set(made_on) == {"meta"}
    with pytest.raises(ConfigError):
        check_weight_shapes(ConvSettings(architecture="nothing"), "classification", 3, {}, where)
