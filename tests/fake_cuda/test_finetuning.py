"""Fine-tuning steps and prediction on CUDA, without one."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medprior.finetune.assembly import build_finetune_network, build_loss
from medprior.finetune.data.views import PrepareWholeViews
from medprior.finetune.engine import GuardedStep
from medprior.finetune.model import Model
from medprior.finetune.optimiser import build_optimiser
from medprior.finetune.sar import SupervisedSar
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.span import SupervisedSpan

from .fake_device import CUDA, fake_cuda, list_unreached

BATCH, SIZE, SOURCE, LABELS = 4, 48, 72, ("effusion", "mass", "nodule")
NETWORK = {"width": 48, "depth": 2, "heads": 6, "patch": 8, "image_size": SIZE}


def build_batch(settings):
    batch = {
        "image": torch.rand(BATCH, 1, SOURCE, SOURCE), "index": torch.arange(BATCH),
        "aspect": torch.linspace(0.8, 1.2, BATCH, dtype=torch.float64),
        "known": torch.ones(BATCH, len(LABELS), dtype=torch.bool), "label": torch.ones(BATCH, len(LABELS)),
        "maps": torch.rand(BATCH, 3, 64, 64), "trust": torch.ones(BATCH),
    }  # fmt: skip
    if settings.task == "segmentation":
        batch["label"] = torch.ones(BATCH, len(LABELS), SOURCE, SOURCE, dtype=torch.uint8)
    if settings.targets == "prior":
        batch["weight"] = torch.ones(BATCH)
    return batch


def build_engine(network, settings, loss):
    return SimpleNamespace(
        state=SimpleNamespace(device=CUDA, epoch_length=10, max_epochs=2, iteration=3), non_blocking=True,
        prepare_batch=PrepareWholeViews(SIZE, settings.augment, 0), network=network, loss_function=loss,
        optimizer=build_optimiser(network, settings), inferer=lambda x, net: net(x), fire_event=lambda event: None,
    )  # fmt: skip


def build_model(network, task):
    ones = np.ones(len(LABELS))
    return Model(network.eval(), task, LABELS, SIZE, SOURCE, ones, 0.5 * ones, {}, {})


def take_step(network, settings, batch, mode):
    """One step on the device, its waits alone counted; the batch has values, for the geometry is made on the host."""
    targets = np.random.default_rng(0).integers(0, 2, (20, len(LABELS)))
    loss = build_loss(settings, SimpleNamespace(targets=targets), CUDA)
    sar = SupervisedSar(network.vit, settings, [0, 1, 2]) if settings.sar_weight else None
    span = SupervisedSpan(network.vit, settings, (0, 1, 2)) if settings.span_weight else None
    step, engine = GuardedStep(settings, sar, span), build_engine(network, settings, loss)
    for _ in range(2):
        mode.forget()
        step(engine, batch)


CASES = {
    "classifier": {"balance": True},
    "classifier with SAR and SPAN": {"sar_weight": 0.01, "span_weight": 0.1, "head": "cls"},
    "segmenter": {"task": "segmentation"},
    "segmenter of pseudo-masks": {"task": "segmentation", "decoder": "linear", "targets": "prior"},
    "densenet": {"architecture": "densenet121", "size": 64},
}


@pytest.mark.parametrize("name", CASES)
def test_a_step_waits_for_the_gradient_alone_and_reaches_every_parameter(name):
    values = {"size": SIZE, "source_size": SOURCE, "network": NETWORK} | CASES[name]
    settings = FinetuneSettings.from_values(values).resolved(False, SIZE)
    network = build_finetune_network(settings, len(LABELS), None, {"left_lung": 0, "right_lung": 1, "heart": 2})
    batch = build_batch(settings)
    with fake_cuda() as mode:
        network.to(CUDA)
        take_step(network, settings, batch, mode)
        assert sum(mode.waits.values()) <= 1, mode.waits
        assert list_unreached(network) == []


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_predictions_come_back_to_the_host(task):
    """One radiograph, and a cohort's attention: nothing stays on the device, and nothing is mixed on the way."""
    settings = FinetuneSettings.from_values({"task": task, "size": SIZE, "source_size": SOURCE, "network": NETWORK})
    network = build_finetune_network(settings.resolved(False, SIZE), len(LABELS), None)
    squares = np.zeros((BATCH, SOURCE, SOURCE), np.float32)
    with fake_cuda() as mode:
        model = build_model(network.to(CUDA), task)
        assert model.device == CUDA
        prediction = model.predict_pixels(np.zeros((90, 80), np.float32))
        images, views = model.create_views(squares, np.ones(BATCH))
        assert images.device == CUDA
        assert len(views) == BATCH
    assert set(prediction.masks if task == "segmentation" else prediction.probabilities) == set(LABELS)
    assert prediction.attention.shape[0] == NETWORK["heads"]
    assert not any("index from the host" in key for key in mode.waits), mode.waits
