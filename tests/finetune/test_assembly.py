import math

import pytest
import torch

from medprior.errors import ConfigError
from medprior.finetune.assembly import build_finetune_network, build_loss, choose_pooled_heads, resolve_vit_settings
from medprior.finetune.data.dataset import build_label_dataset
from medprior.finetune.settings import FinetuneSettings
from medprior.networks import ViTSettings, build_encoder
from medprior.networks.backbone import Backbone
from medprior.networks.convolutional import ConvNet
from tests.finetune.conftest import TINY, cnn, tiny, write_cohort

SHAPE = {"width": 24, "depth": 2, "heads": 3, "patch": 8, "registers": 1, "image_size": 32}


def backbone_with(heads=None, **changes):
    torch.manual_seed(3)
    network = build_encoder(ViTSettings.from_values(SHAPE | changes))
    return Backbone(network, heads or {}, 32, {})


def without_network(**changes):
    """Settings that leave the shape of the network to the backbone."""
    return FinetuneSettings.from_values({key: value for key, value in TINY.items() if key != "network"} | changes)


def test_the_shape_from_scratch_takes_view_size_and_drop_path():
    shape = resolve_vit_settings(tiny(size=48, drop_path=0.3), None)
    assert (shape.image_size, shape.drop_path, shape.width) == (48, 0.3, 24)
    unset = FinetuneSettings.from_values({"network": SHAPE})
    assert resolve_vit_settings(unset, None).image_size == 32


def test_a_backbone_keeps_its_shape_but_not_its_drop_path():
    backbone = backbone_with(drop_path=0.4)
    shape = resolve_vit_settings(without_network(size=48, drop_path=0.2), backbone)
    assert shape == backbone.network.settings.model_copy(update={"drop_path": 0.2})
    assert shape.image_size == 32


def test_only_shapes_that_were_set_and_differ_are_conflicts():
    backbone = backbone_with()
    agreeing = without_network(network={"width": 24, "depth": 2})
    assert resolve_vit_settings(agreeing, backbone).heads == 3
    with pytest.raises(ConfigError) as refused:
        resolve_vit_settings(without_network(network={"width": 24, "depth": 3, "patch": 4}), backbone)
    assert refused.value.where == "network.depth, network.patch"
    assert (refused.value.expected, refused.value.found) == ("depth=2, patch=8", "depth=3, patch=4")


def test_pooled_heads_are_all_or_the_assigned_ones_once_each():
    assert choose_pooled_heads(tiny(pooled_heads="all"), {"heart": 2}) == ()
    assigned = tiny(pooled_heads="assigned")
    assert choose_pooled_heads(assigned, {"heart": 2, "left_lung": 0, "right_lung": 2}) == (0, 2)
    with pytest.raises(ConfigError, match="no head assigned"):
        choose_pooled_heads(assigned, {})


def test_assigned_heads_matter_to_the_pooled_head_alone():
    for head, inputs in (("pooled", 2 * 24), ("cls", 24), ("cls_mean", 2 * 24)):
        settings = tiny(head=head, pooled_heads="assigned").resolved(False, 32)
        heads = {"heart": 1} if head == "pooled" else {}
        assert build_finetune_network(settings, 4, None, heads).linear.weight.shape == (4, inputs)
    settings, backbone = without_network(pooled_heads="assigned").resolved(True, 32), backbone_with({"heart": 2})
    assert build_finetune_network(settings, 2, backbone).heads.tolist() == [2]
    assert build_finetune_network(settings, 2, backbone, {"heart": 0}).heads.tolist() == [0]


def test_the_seed_alone_decides_the_first_weights():
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first, again, other = (build_finetune_network(tiny(seed=seed), 2, None) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.linear.weight, again.linear.weight)
    assert torch.equal(first.vit.cls, again.vit.cls)
    assert not torch.equal(first.linear.weight, other.linear.weight)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_backbone_gives_its_weights_and_freezing_stops_them_alone(task):
    backbone = backbone_with()
    network = build_finetune_network(without_network(task=task, freeze=True).resolved(True, 32), 2, backbone)
    copied = network.vit.state_dict()
    assert all(torch.equal(value, copied[name]) for name, value in backbone.network.state_dict().items())
    trained = {name for name, value in network.named_parameters() if value.requires_grad}
    assert trained == {name for name, _ in network.named_parameters() if not name.startswith("vit.")}
    assert trained


def test_a_cnn_takes_no_backbone():
    with pytest.raises(ConfigError, match="one of the two"):
        build_finetune_network(cnn("segmentation"), 1, backbone_with())
    assert isinstance(build_finetune_network(cnn("segmentation"), 1, None), ConvNet)


def test_the_loss_is_that_of_the_task_with_balanced_positives(tmp_path):
    labels = {"x": {"a": 1.0}, "y": {"a": 0.0}, "z": {"a": 0.0}}
    cohort = write_cohort(tmp_path / "c", dict.fromkeys("xyz", "train"), labels)
    data = build_label_dataset(cohort, ("a",), tiny())
    logits, target = torch.zeros(2, 1), torch.tensor([[1.0], [0.0]])
    log2 = math.log(2)
    plain = build_loss(tiny(), data, torch.device("cpu"))
    assert plain(logits, target).item() == pytest.approx(log2)
    balanced = build_loss(tiny(balance=True), data, torch.device("cpu"))
    assert balanced(logits, target).item() == pytest.approx((2 * log2 + log2) / 2)
    maps, half = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    for weight in (0.0, 3.0):  # soft Dice of 16 pixels at one half: (2 * 8 + 1) / (8 + 16 + 1)
        dice_bce = build_loss(tiny(task="segmentation", dice_weight=weight), data, torch.device("cpu"))
        assert dice_bce(maps, half).item() == pytest.approx(log2 + weight * 8 / 25)
