"""SAR as an auxiliary loss of supervised training, and LIFE from scratch."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from medprior.errors import ConfigError
from medprior.finetune.model import load_finetuned_model
from medprior.finetune.sar import SupervisedSar
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.training import Finetuning, finetune_model
from medprior.networks import ViTSettings, build_encoder
from medprior.networks.heads import Classifier
from medprior.pretrain.objectives.spatial_entropy import compute_spatial_entropy

from .conftest import tiny

SHAPE = {"width": 24, "depth": 2, "heads": 6, "patch": 8, "registers": 1, "image_size": 64}


def classifier(kind="cls"):
    torch.manual_seed(0)
    return Classifier(build_encoder(ViTSettings.checked(SHAPE)), 2, kind)


@pytest.mark.parametrize("kind", ["cls", "cls_mean", "pooled"])
def test_loss_is_that_of_the_free_heads_whatever_the_classifier(kind):
    network = classifier(kind)
    settings = tiny(sar_weight=0.02, sar_warmup=0.5, sar_connectivity=4)
    sar = SupervisedSar(network.vit, settings, [0, 4])
    images = torch.rand(3, 1, 64, 64)
    network.train()(images)
    loss = sar.loss(0.5)
    logits = network.vit(images, capture=True).cls_logits[:, [1, 2, 3, 5]]
    assert loss.item() == pytest.approx(0.02 * compute_spatial_entropy(logits, (8, 8), 4).mean().item())
    assert [sar.weight(p) for p in (0.0, 0.25, 1.0)] == pytest.approx([0, 0.01, 0])
    loss.backward()
    grad = network.vit.blocks[-1].attention.qkv.weight.grad.view(3, 6, 4, 24)
    moved = grad[:2].abs().amax((0, 2, 3)) > 0
    assert moved.tolist() == [False, True, True, True, False, True]


def test_evaluation_is_left_as_it_was():
    network = classifier().eval()
    images = torch.rand(2, 1, 64, 64)
    before = network(images)
    SupervisedSar(network.vit, tiny(sar_weight=0.01), [])
    assert torch.equal(network(images), before)
    assert network.vit(images).cls_logits is None
    assert network.train().vit(images).cls_logits is not None


def test_entropy_falls_and_labels_are_still_learned():
    """At the authors' weight of 0.01 the maps come together and the loss still falls."""
    torch.manual_seed(0)
    labels = (torch.arange(16) % 2).float()
    images = 0.1 * torch.rand(16, 1, 64, 64)
    images[labels == 1, :, :24, :24] += 0.8
    images[labels == 0, :, 40:, 40:] += 0.8
    found = {}
    for weight in (0.0, 0.01):
        network = classifier().train()
        sar = SupervisedSar(network.vit, tiny(sar_weight=1.0, sar_warmup=0.0), [])
        optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
        for _ in range(100):
            loss = bce(network(images)[:, 0], labels)
            entropy = sar.loss(0.0)
            optimiser.zero_grad()
            (loss + weight * entropy).backward()
            optimiser.step()
        found[weight] = (loss.item(), entropy.item())
    assert found[0.01][1] < 0.5 * found[0.0][1]
    assert found[0.01][0] < 0.1


def test_a_run_with_sar_differs_and_weight_zero_does_not(cohort, tmp_path):
    changes = {"none": {}, "zero": {"sar_weight": 0.0}, "sar": {"sar_weight": 5.0}}
    weights = {}
    for name, change in changes.items():
        settings = tiny(epochs=1, **change)
        finetune_model(cohort, tmp_path / name, "classification", None, settings)
        weights[name] = load_finetuned_model(tmp_path / name).network.state_dict()
    same = {name: all(torch.equal(weights["none"][k], w[k]) for k in w) for name, w in weights.items()}
    assert same == {"none": True, "zero": True, "sar": False}


def test_sar_is_refused_where_it_has_no_meaning():
    with pytest.raises(ConfigError, match="sar_weight"):
        FinetuneSettings.checked({"task": "segmentation", "sar_weight": 0.01})
    with pytest.raises(ConfigError, match="sar_weight"):
        FinetuneSettings.checked({"freeze": True, "sar_weight": 0.01})


def test_life_from_scratch(cohort, tmp_path):
    settings = FinetuneSettings.load(
        None, ["network.life=true", "epochs=1", "sar_weight=0.01"],
        **tiny().model_dump(exclude_unset=True),
    )  # fmt: skip
    run = Finetuning(cohort, tmp_path / "m", "classification", settings=settings)
    assert run.parts.network.vit.settings.life
    assert run.trainer._process_function.sar.free_heads == [0, 1, 2]
    run.run()
    again = load_finetuned_model(tmp_path / "m")
    assert again.vit.settings.life
    assert sum("near_mix" in name for name, _ in again.network.named_parameters()) == 2
