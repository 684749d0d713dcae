import pytest
import torch
from torch import nn

from medprior.errors import ConfigError
from medprior.networks.convolutional import ConvNet, ConvSettings, tokenise_feature_map


@pytest.mark.parametrize("name", ["hf-hub:a/b", "local-dir:/tmp", "../x", "resnet18.a1_in1k", ""])
def test_no_name_reaches_for_a_file_or_a_network(name):
    with pytest.raises(ConfigError, match="architecture"):
        ConvSettings.from_values({"architecture": name})


def test_cells_of_the_deepest_map_are_tokens_in_raster_order():
    maps = torch.arange(12.0).reshape(1, 2, 2, 3)
    tokens = tokenise_feature_map(maps)
    assert tokens.grid == (2, 3)
    assert tokens.patches[0].tolist() == [[0, 6], [1, 7], [2, 8], [3, 9], [4, 10], [5, 11]]
    assert tokens.cls.tolist() == [[2.5, 8.5]]
    assert tokens.cls_logits.shape == (1, 0, 6)
    assert tokens.cls_mass.shape == (1, 0)


def test_images_are_normalised_once():
    settings = ConvSettings(architecture="test_resnet", mean=0.4, std=0.2)
    network = ConvNet(settings, nn.Identity(), None)
    assert network(torch.tensor([0.4, 0.8])).tolist() == pytest.approx([0, 2])
    assert {"mean", "std"} <= set(network.state_dict())
    assert network.vit.settings is settings
