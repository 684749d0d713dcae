import torch

from medprior.bench.pretrain_plain_dino import PlainAttention, PlainNet, build_augmentations, build_plain_step
from medprior.networks.vit import Attention
from medprior.pretrain.settings import PretrainSettings

SMALL = PretrainSettings.from_values(
    {
        "recipe": "nokoleo", "batch": 2, "steps": 1, "network": {"width": 24, "depth": 2, "heads": 3, "patch": 8},
        "crops": {"global_size": 32, "local_size": 16, "locals": 3}, "dino": {"prototypes": 16},
    }
).resolve(2)  # fmt: skip


def test_the_explicit_matrix_attends_as_the_fused_one():
    torch.manual_seed(0)
    fused, tokens = Attention(24, 3), torch.rand(2, 7, 24)
    torch.testing.assert_close(PlainAttention(fused)(tokens)[0], fused(tokens)[0])


def test_the_plain_network_scores_every_view():
    network = PlainNet(SMALL)
    assert all(isinstance(block.attention, PlainAttention) for block in network.backbone.blocks)
    assert network(torch.rand(3, 1, 32, 32)).shape == (3, 16)
    assert network(torch.rand(3, 1, 16, 16)).shape == (3, 16)


def test_each_view_has_its_own_size():
    image = torch.rand(1, 48, 48)
    assert [view(image).shape[-1] for view in build_augmentations(SMALL)] == [32, 32, 16, 16, 16]


def test_a_step_runs_twice():
    step = build_plain_step(2)
    step()
    step()
