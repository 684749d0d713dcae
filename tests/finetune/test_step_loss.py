"""The loss of a training step and of a validation, against NumPy on the network's own outputs."""

import copy

import numpy as np
import pytest
import torch
from ignite.engine import Events

from medprior.finetune.engine import build_evaluator
from medprior.finetune.losses import masked_bce
from medprior.finetune.training import prepare_run
from medprior.networks.views import compute_patch_coverage
from tests.finetune.conftest import tiny
from tests.finetune.priors import discs, write_prior
from tests.finetune.test_losses import slow_bce, slow_dice_bce
from tests.finetune.test_span import twin as span_divergence
from tests.pretrain.slow_twins import spatial_entropy

STEP = 4
"""Of 18: three epochs of six steps."""


def take_step(run, step=STEP):
    """The network before step `step` of a run, and the trainer after it."""
    before = []
    run.trainer.add_event_handler(
        Events.ITERATION_STARTED(once=step), lambda engine: before.append(copy.deepcopy(run.network).train())
    )
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=step), lambda engine: engine.terminate())
    run.trainer.run()
    return before[0], run.trainer


def gradient_norm(network):
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).norm().item()


def test_a_steps_loss_is_that_of_labels_attention_and_prior(cohort, tmp_path):
    prior = tmp_path / "prior"
    trust = {image_id: 0.25 + 0.5 * (number % 2) for number, image_id in enumerate(cohort.image_ids)}
    write_prior(prior, cohort, discs(cohort), trust, excluded=cohort.image_ids[:5])
    changes = {"sar_weight": 2.0, "sar_warmup": 0.5, "span_weight": 0.5, "drop_path": 0.0, "clip": 1e9}
    run = prepare_run(cohort, tmp_path / "m", tiny(**changes), prior=prior)
    assert run.trainer.state.epoch_length * run.trainer.state.max_epochs == 18
    network, trainer = take_step(run)
    output, batch = trainer.state.output, trainer.state.batch
    with torch.no_grad():
        tokens = network.vit(output["image"], capture=True)
        logits = network(output["image"])
    torch.testing.assert_close(output["pred"], logits)
    labels = slow_bce(logits.numpy(), output["label"].numpy())
    rows = tokens.cls_logits.numpy()
    entropy = np.mean([spatial_entropy(row[head], tokens.grid) for row in rows for head in (1, 2)])
    views, _ = trainer.prepare_batch.geometry(batch["aspect"].numpy(), batch["index"].numpy())
    cover = compute_patch_coverage(batch["maps"], type(views)(views.box, views.flip, tokens.grid), torch.arange(8))
    divergence = span_divergence(rows[:, :1].astype(float), cover.double().numpy(), batch["trust"].tolist())
    assert len(set(batch["trust"].tolist())) > 1
    weight = 2.0 * (STEP - 1) / 18 / 0.5
    assert output["loss"].item() == pytest.approx(labels + weight * entropy + 0.5 * divergence, rel=1e-4)


def test_a_step_is_clipped_to_its_setting(cohort, tmp_path):
    _, trainer = take_step(prepare_run(cohort, tmp_path / "m", tiny(clip=1e-3)))
    assert gradient_norm(trainer.network) == pytest.approx(1e-3, rel=1e-3)


def test_images_weigh_as_their_dataset_says(cohort, tmp_path):
    run = prepare_run(cohort, tmp_path / "m", tiny(task="segmentation", drop_path=0.0, dice_weight=0.5))
    run.train.weight = np.linspace(0.1, 1.0, len(run.train))
    network, trainer = take_step(run)
    output, rows = trainer.state.output, trainer.state.batch["index"].numpy()
    with torch.no_grad():
        logits = network(output["image"]).double().numpy()
    targets = output["label"].double().numpy()
    each = [slow_dice_bce(logits[i : i + 1], targets[i : i + 1], 0.5, 1.0) for i in range(len(rows))]
    assert output["loss"].item() == pytest.approx(np.mean(run.train.weight[rows] * each), rel=1e-4)


def test_the_loss_of_validation_is_the_mean_over_images_of_unequal_batches(cohort, tmp_path):
    settings = tiny(batch=4, labels=("large",))
    run = prepare_run(cohort, tmp_path / "m", settings)
    assert len(run.val) % 4
    evaluator = build_evaluator(run.network, run.val, run.settings, torch.device("cpu"), masked_bce)
    pairs = []
    evaluator.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: pairs.append((engine.state.output["pred"].numpy(), engine.state.output["label"].numpy())),
    )
    evaluator.run()
    logits, labels = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    assert len(logits) == len(run.val)
    assert evaluator.state.metrics["loss"] == pytest.approx(slow_bce(logits, labels), rel=1e-5)
    positive, negative = logits[labels == 1], logits[labels == 0]
    above = (positive[:, None] > negative[None]).mean() + 0.5 * (positive[:, None] == negative[None]).mean()
    assert evaluator.state.metrics["mean_auc"] == pytest.approx(above)
