"""Weights of published CNNs give the features of the network that they came from."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import densenet121

from medprior.errors import ConfigError
from medprior.finetune import finetune_model
from medprior.finetune.cnn_weights import choose_statistics, load_cnn_weights
from medprior.networks.architectures import build_cnn
from medprior.networks.convolutional import ConvSettings
from tests.finetune.conftest import cnn

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_tensors(path, tensors):
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path)
    return path


def randomise(network):
    """The network in evaluation mode with all numbers at random, those of its norms, too."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.add_(0.05 * torch.rand_like(value) if "running" in name else 0.02 * torch.randn_like(value))
    return network.eval()


@pytest.fixture
def make_network():
    torch.manual_seed(0)

    def make(name, channels=3, outputs=5):
        return randomise(timm.create_model(name, pretrained=False, in_chans=channels, num_classes=outputs))

    return make


def load_into(path, name, task="classification", outputs=2, **statistics):
    """The CNN `name` with the weights in `path`, and what was loaded."""
    settings = ConvSettings(architecture=name, **statistics)
    weights = load_cnn_weights(path, settings, task)
    shape = ConvSettings(architecture=name, mean=weights.mean, std=weights.std)
    network = build_cnn(shape, task, outputs).eval()
    fitted = network.body.load_state_dict(weights.tensors, strict=False)
    assert not fitted.unexpected_keys
    return network, weights, fitted.missing_keys


def normalise(images, mean, std):
    mean, std = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return (images.expand(-1, 3, -1, -1) - mean) / std


def get_features(network, images):
    with torch.no_grad():
        return network.body.forward_features((images - network.mean) / network.std)


@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
@pytest.mark.parametrize("name", ["test_resnet", "convnext_atto"])
def test_equal_channels_are_folded_exactly(tmp_path, make_network, name, prefix):
    original = make_network(name)
    tensors = {prefix + key: value for key, value in original.state_dict().items()}
    network, weights, missing = load_into(write_tensors(tmp_path / "w.safetensors", tensors), name, mean=0.4, std=0.3)
    assert (weights.mean, weights.std) == pytest.approx((0.4, 0.3))
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        expected = original.forward_features(normalise(images, (0.4,) * 3, (0.3,) * 3))
    torch.testing.assert_close(get_features(network, images), expected, rtol=1e-3, atol=1e-4)
    classifier = original.pretrained_cfg["classifier"]
    assert set(missing) == {f"{classifier}.weight", f"{classifier}.bias"}
    assert set(weights.left_out) == {f"{prefix}{classifier}.weight", f"{prefix}{classifier}.bias"}


def test_channels_of_other_statistics_move_the_bias(tmp_path, make_network):
    """ConvNeXt's first convolution has a bias and no padding, so the features are the same everywhere."""
    original = make_network("convnext_atto")
    path = write_tensors(tmp_path / "w.safetensors", original.state_dict())
    network, weights, _ = load_into(path, "convnext_atto")
    assert weights.mean == pytest.approx(sum(IMAGENET[0]) / 3)
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        expected = original.forward_features(normalise(images, *IMAGENET))
    torch.testing.assert_close(get_features(network, images), expected, rtol=1e-3, atol=1e-4)


def test_channels_of_other_statistics_move_the_batch_norm(tmp_path, make_network):
    """The first convolution of a ResNet has no bias and pads: its normed answer is the same but at the border."""
    original = make_network("resnet18")
    network, *_ = load_into(write_tensors(tmp_path / "w.safetensors", original.state_dict()), "resnet18")
    images = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected = original.bn1(original.conv1(normalise(images, *IMAGENET)))
        inner = network.body.bn1(network.body.conv1((images - network.mean) / network.std))
    torch.testing.assert_close(inner[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], rtol=1e-3, atol=1e-4)
    assert (inner - expected).abs().max() > 1e-3


def test_densenet_of_torchvision_becomes_that_of_monai(tmp_path):
    torch.manual_seed(0)
    original = randomise(densenet121(num_classes=14))
    path = write_tensors(tmp_path / "w.safetensors", original.state_dict())
    network, weights, missing = load_into(path, "densenet121", mean=0.5, std=0.25)
    assert set(missing) == {"class_layers.out.1.weight", "class_layers.out.1.bias"}
    assert set(weights.left_out) == {"classifier.weight", "classifier.bias"}
    images = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected = original.features(normalise(images, (0.5,) * 3, (0.25,) * 3))
        features = network.body.features((images - network.mean) / network.std)
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)


def test_one_channel_and_a_unet_keep_their_tensors(tmp_path):
    torch.manual_seed(0)
    original = build_cnn(ConvSettings(architecture="unet"), "segmentation", 5).body
    path = write_tensors(tmp_path / "w.safetensors", original.state_dict())
    network, weights, missing = load_into(path, "unet", "segmentation", mean=0.3, std=0.2)
    assert (weights.mean, weights.std) == (0.3, 0.2)
    state = original.state_dict()
    kept = [name for name in state if name not in missing]
    assert len(kept) > 20
    assert all(torch.equal(network.body.state_dict()[name], state[name]) for name in kept)
    assert 0 < len(missing) < 10


def refusals(make_network):
    resnet = make_network("test_resnet").state_dict()
    without_one = {name: value for name, value in resnet.items() if name != "layer1.0.conv1.weight"}
    yield "resnet18", make_network("resnet34").state_dict(), "left over"
    yield "test_resnet", without_one, r"1 missing \(layer1.0.conv1.weight"
    yield "test_resnet", {"cls_token": torch.zeros(1, 1, 4)}, "no weights of test_resnet"
    yield "test_resnet", resnet | {"bn1.weight": torch.zeros(3)}, "of another shape"
    yield "test_resnet", resnet | {"conv1.0.weight": torch.zeros(3)}, "of another shape"


def test_other_networks_are_refused_by_name(tmp_path, make_network):
    for number, (name, tensors, words) in enumerate(refusals(make_network)):
        path = write_tensors(tmp_path / f"{number}.safetensors", tensors)
        with pytest.raises(ConfigError, match=words):
            load_cnn_weights(path, ConvSettings(architecture=name), "classification")
    (tmp_path / "w.pth").write_bytes(b"x")
    with pytest.raises(ConfigError, match="safetensors"):
        load_cnn_weights(tmp_path / "w.pth", ConvSettings(architecture="test_resnet"), "classification")


def test_a_convolution_that_standardises_its_weights_is_refused(tmp_path, make_network):
    original = make_network("nf_resnet26")
    path = write_tensors(tmp_path / "w.safetensors", original.state_dict())
    with pytest.raises(ConfigError, match="cannot become weights of one"):
        load_cnn_weights(path, ConvSettings(architecture="nf_resnet26"), "classification")


def test_a_model_of_medprior_brings_its_statistics(cohort, tmp_path):
    finetune_model(cohort, tmp_path / "first", settings=cnn("classification", epochs=1, network={"mean": 0.3}))
    weights = load_cnn_weights(
        tmp_path / "first" / "model.safetensors", ConvSettings(architecture="test_resnet"), "classification"
    )
    assert (weights.mean, weights.std) == pytest.approx((0.3, 0.25))


@pytest.mark.parametrize(
    ("prefix", "names", "channels", "given", "expected"),
    [
        ("body.", ("mean", "std"), 1, {}, ((0.25,), (0.75,))),
        ("body.", ("mean",), 1, {}, ((0.5,), (0.25,))),
        ("body.", ("std",), 1, {}, ((0.5,), (0.25,))),
        ("", ("mean", "std"), 1, {}, ((0.5,), (0.25,))),
        ("", ("mean", "std"), 3, {}, IMAGENET),
        ("body.", ("mean", "std"), 3, {}, ((0.25,), (0.75,))),
        ("body.", ("mean", "std"), 1, {"mean": 0.125}, ((0.125,), (0.75,))),
        ("", (), 3, {"std": 0.125}, (IMAGENET[0], (0.125,))),
    ],
)
def test_statistics_are_those_given_then_the_files_then_the_architectures(prefix, names, channels, given, expected):
    """Only a whole pair in a model of medprior counts as the file's own."""
    stored = {name: torch.tensor(value) for name, value in (("mean", 0.25), ("std", 0.75)) if name in names}
    settings = ConvSettings(architecture="resnet18", **given)
    assert (settings.mean, settings.std) == (given.get("mean", 0.5), given.get("std", 0.25))
    assert choose_statistics(settings, stored, prefix, channels) == expected
