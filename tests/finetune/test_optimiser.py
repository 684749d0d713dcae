import pytest

from medprior.finetune.assembly import build_finetune_network
from medprior.finetune.optimiser import (
    build_optimiser,
    build_parameter_groups,
    find_parameter_depth,
    set_learning_rates,
)
from tests.finetune.conftest import tiny


def test_depth_rises_from_embedding_to_head():
    expected = {
        "vit.cls": 0, "vit.position": 0, "vit.embed.weight": 0, "vit.blocks.0.norm1.bias": 1,
        "vit.blocks.11.mlp.0.weight": 12, "vit.norm.weight": 13, "linear.weight": 13,
        "decoder.head.bias": 13,
    }  # fmt: skip
    assert {name: find_parameter_depth(name, 12) for name in expected} == expected


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_every_parameter_is_in_one_group_with_its_factor(task):
    settings = tiny(task=task, layer_decay=0.5)
    network = build_finetune_network(settings, 2, None)
    groups = build_parameter_groups(network, settings)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())
    factor = {id(p): group["scale"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert factor[id(network.vit.cls)] == 0.125
    assert factor[id(network.vit.blocks[0].mlp[0].weight)] == 0.25
    assert factor[id(network.vit.norm.bias)] == 1
    assert decay[id(network.vit.position)] == decay[id(network.vit.norm.bias)] == 0
    assert decay[id(network.vit.blocks[1].mlp[0].weight)] == 0.05


def test_rates_warm_up_and_fall():
    settings = tiny(layer_decay=0.5, lr=1.0, final_lr=0.0, warmup=0.2)
    optimiser = build_optimiser(build_finetune_network(settings, 2, None), settings)
    seen = []
    for progress in (0.1, 0.2, 0.6, 1.0):
        set_learning_rates(optimiser, settings, progress)
        seen.append(max(group["lr"] for group in optimiser.param_groups))
        assert min(group["lr"] for group in optimiser.param_groups) == seen[-1] / 8
    assert seen == pytest.approx([0.5, 1, 0.5, 0])


def test_freezing_leaves_the_head():
    settings = tiny(freeze=True)
    network = build_finetune_network(settings, 2, None)
    grouped = {id(p) for group in build_parameter_groups(network, settings) for p in group["params"]}
    assert grouped == {id(p) for n, p in network.named_parameters() if not n.startswith("vit.")}
