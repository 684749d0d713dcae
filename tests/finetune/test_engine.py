import pytest
import torch
from ignite.engine import Events

from medprior.errors import ConfigError, TrainingFailed
from medprior.finetune.assembly import build_finetune_network
from medprior.finetune.data.splits import build_train_val_datasets
from medprior.finetune.engine import GuardedStep, build_evaluator, build_trainer
from medprior.finetune.losses import masked_bce
from medprior.finetune.optimiser import build_optimiser
from medprior.networks.device import select_device
from tests.finetune.conftest import tiny


def trainer_for(cohort, loss, **changes):
    settings = tiny(**changes).resolved(False, 32)
    train, val = build_train_val_datasets(cohort, settings)
    network = build_finetune_network(settings, 2, None)
    optimiser = build_optimiser(network, settings)
    device = torch.device("cpu")
    return build_trainer(network, train, settings, device, 1, optimiser, loss), network, val


def test_a_step_without_a_finite_gradient_changes_nothing(cohort):
    calls = []

    def sometimes_nan(pred, target):
        calls.append(1)
        return masked_bce(pred, target) * (torch.nan if len(calls) in (2, 3) else 1)

    trainer, network, _ = trainer_for(cohort, sometimes_nan, batch=4)
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(network.linear.weight.detach().clone()))
    trainer.run()
    step = trainer._process_function
    assert isinstance(step, GuardedStep)
    assert (step.skipped, step.skipped_in_a_row) == (2, 0)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[2], seen[3])
    assert torch.isfinite(network.linear.weight).all()


def test_a_step_left_out_leaves_running_statistics_alone(cohort):
    trainer, network, _ = trainer_for(cohort, masked_bce, batch=4, architecture="resnet10t", size=64)
    seen = []

    def spoil(engine):
        if engine.state.iteration == 2:
            engine.state.batch["image"][0] = torch.nan

    def keep(_):
        seen.append({k: v.clone() for k, v in network.state_dict().items()})

    trainer.add_event_handler(Events.ITERATION_STARTED, spoil)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, keep)
    trainer.run()
    assert trainer._process_function.skipped == 1
    assert all(torch.equal(value, seen[1][key]) for key, value in seen[0].items())
    running = [key for key in seen[0] if key.endswith("running_mean")]
    assert running
    assert all(torch.isfinite(seen[-1][key]).all() for key in running)
    assert any(not torch.equal(seen[0][key], seen[-1][key]) for key in running)


def test_a_loss_that_stays_non_finite_stops_the_run(cohort):
    trainer, network, _ = trainer_for(cohort, lambda p, t: masked_bce(p, t) * torch.inf, batch=2, max_skipped=3)
    before = network.linear.weight.detach().clone()
    with pytest.raises(TrainingFailed, match="4 steps in a row"):
        trainer.run()
    assert torch.equal(network.linear.weight, before)


def test_the_evaluator_reports_key_metric_and_loss(cohort):
    _, network, val = trainer_for(cohort, masked_bce)
    settings = tiny().resolved(False, 32)
    evaluator = build_evaluator(network, val, settings, torch.device("cpu"), masked_bce)
    evaluator.run()
    assert evaluator.state.key_metric_name == "mean_auc"
    assert 0 <= evaluator.state.metrics["mean_auc"] <= 1
    assert evaluator.state.metrics["loss"] == pytest.approx(0.693, abs=0.05)


def test_freezing_keeps_the_backbone_still(cohort):
    trainer, network, _ = trainer_for(cohort, masked_bce, freeze=True)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    trainer.run()
    after = network.state_dict()
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert moved == {key for key in before if not key.startswith("vit.")}
    assert not network.vit.training


def test_a_device_that_is_not_here_is_refused():
    assert select_device("cpu").type == "cpu"
    for name in ("cuda:99", "abacus"):
        with pytest.raises(ConfigError, match="no such device"):
            select_device(name)
