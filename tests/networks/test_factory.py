import torch

from medprior.networks import VisionTransformer, ViTSettings, build_encoder
from medprior.networks.timm_encoder import TimmEncoder

SHAPE = {"width": 48, "depth": 1, "heads": 3, "patch": 8, "image_size": 32}


def test_the_source_decides_which_network_it_is():
    own = ViTSettings.from_values(SHAPE)
    wrapped = ViTSettings.from_values(SHAPE | {"source": "timm", "name": "vit_small_patch16_224"})
    assert type(build_encoder(own)) is VisionTransformer
    assert type(build_encoder(wrapped)) is TimmEncoder


def test_weights_follow_the_global_seed():
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(build_encoder(ViTSettings.from_values(SHAPE)).embed.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
