import math
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from medprior.errors import MedpriorError, TrainingFailed
from medprior.finetune import handlers
from medprior.finetune.data.epoch_sampler import EpochSampler
from medprior.finetune.data.views import PrepareWholeViews
from medprior.finetune.handlers import (
    BestWeightsHandler,
    FinetuneCheckpointHandler,
    MetricsRecorder,
    ScheduleHandler,
    TrainingProgress,
    has_finite_weights,
    is_training_finished,
)
from medprior.finetune.interrupts import StopRequest
from medprior.observer import NullObserver
from tests.finetune.conftest import tiny


def test_best_is_the_highest_score_then_the_lowest_loss_and_never_nan():
    network = nn.Linear(1, 1)
    evaluator = SimpleNamespace(state=SimpleNamespace(metrics={}, key_metric_name="score"))
    progress = TrainingProgress()
    keeper = BestWeightsHandler(evaluator, progress)
    history = [(math.nan, 0.1), (0.5, 0.9), (0.7, 0.8), (math.nan, 0.1), (0.7, 0.6), (0.7, 0.7)]
    for epoch, (score, loss) in enumerate(history, start=1):
        evaluator.state.metrics = {"score": score, "loss": loss}
        nn.init.constant_(network.weight, epoch)
        engine = SimpleNamespace(state=SimpleNamespace(epoch=epoch), network=network)
        keeper._compare(engine)
    assert (progress.best_epoch, progress.best_score, progress.best_loss) == (5, 0.7, 0.6)
    assert progress.best["weight"].item() == 5, "a copy, not a view of the live weights"


def test_non_finite_weights_are_seen():
    network = nn.BatchNorm1d(2)
    assert has_finite_weights(network)
    with torch.no_grad():
        network.running_var[0] = torch.inf
    assert not has_finite_weights(network)


def test_with_keep_last_every_epoch_replaces_the_one_before():
    network = nn.Linear(1, 1)
    evaluator = SimpleNamespace(state=SimpleNamespace(metrics={}, key_metric_name="score"))
    progress = TrainingProgress()
    keeper = BestWeightsHandler(evaluator, progress, keep_last=True)
    for epoch, score in enumerate((0.9, 0.2, math.nan), start=1):
        evaluator.state.metrics = {"score": score, "loss": 1.0}
        nn.init.constant_(network.weight, epoch)
        keeper._compare(SimpleNamespace(state=SimpleNamespace(epoch=epoch), network=network))
        assert (progress.best_epoch, progress.best["weight"].item()) == (epoch, epoch)


def test_training_is_finished_after_its_last_step():
    for iteration, finished in ((0, False), (11, False), (12, True)):
        state = SimpleNamespace(iteration=iteration, epoch_length=4, max_epochs=3)
        assert is_training_finished(SimpleNamespace(state=state)) is finished


def test_a_metrics_row_holds_the_mean_loss_of_its_epoch_alone(tmp_path):
    state = SimpleNamespace(metrics={"loss": 2.0, "mean_auc": 0.75}, key_metric_name="mean_auc")
    progress = TrainingProgress()
    recorder = MetricsRecorder(tmp_path, NullObserver(), SimpleNamespace(state=state), progress)
    groups = [{"lr": 0.25}, {"lr": 0.5}, {"lr": 0.125}]
    engine = SimpleNamespace(
        optimizer=SimpleNamespace(param_groups=groups), _process_function=SimpleNamespace(skipped=3)
    )
    for epoch, losses in enumerate(([1.0, 2.0], [6.0]), start=1):
        recorder._start_epoch(engine)
        for loss in losses:
            engine.state = SimpleNamespace(epoch=epoch, iteration=2 * epoch, max_epochs=2, output={"loss": loss})
            recorder._add_step(engine)
        recorder._write_row(engine)
    assert [row["train_loss"] for row in progress.rows] == [1.5, 6.0]
    row = progress.rows[0]
    assert {key: row[key] for key in row if key != "seconds"} == {
        "epoch": 1, "step": 2, "train_loss": 1.5, "val_loss": 2, "val_mean_auc": 0.75, "lr": 0.5, "skipped_steps": 3,
    }  # fmt: skip
    assert (tmp_path / "metrics.csv").read_text().splitlines()[2].startswith("2,4,6,2,0.75,0.5,3,")


def test_the_bar_counts_the_steps_of_all_epochs(tmp_path, monkeypatch):
    bars = []
    monkeypatch.setattr(handlers, "progress_bar", lambda **values: bars.append(values))
    state = SimpleNamespace(epoch_length=4, max_epochs=3, iteration=5)
    MetricsRecorder(tmp_path, NullObserver(), None, TrainingProgress())._open_bar(SimpleNamespace(state=state))
    assert (bars[0]["total"], bars[0]["initial"]) == (12, 5)


def test_before_the_first_epoch_there_is_no_best():
    progress = TrainingProgress()
    assert (progress.best, progress.best_epoch, progress.best_score) == (None, 0, -float("inf"))


def test_the_order_of_an_epoch_resumes_at_the_steps_done():
    settings = tiny(batch=3)
    sampler, views = EpochSampler(20, 0), PrepareWholeViews(32)
    engine = SimpleNamespace(data_loader=SimpleNamespace(sampler=sampler), prepare_batch=views)
    for iteration, epoch, skipped in ((14, 3, 0), (16, 3, 6), (7, 2, 0)):
        engine.state = SimpleNamespace(iteration=iteration, epoch=epoch, epoch_length=7)
        ScheduleHandler(settings)._start_epoch(engine)
        assert (sampler.epoch, views.epoch, sampler.skip) == (epoch, epoch, skipped)


def test_learning_rate_and_random_numbers_follow_the_step():
    settings = tiny(lr=1.0, final_lr=0.0, warmup=0.5)
    optimiser = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "scale": 0.5}], lr=1)
    engine = SimpleNamespace(optimizer=optimiser)
    handler, rates, draws = ScheduleHandler(settings), [], []
    for iteration in (1, 2, 4, 1):
        engine.state = SimpleNamespace(iteration=iteration, epoch_length=2, max_epochs=2)
        with torch.random.fork_rng():
            handler._start_step(engine)
            draws.append(torch.rand(1).item())
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.25, 0.5, 0, 0.25])
    assert draws[0] == draws[3]
    assert len(set(draws)) == 3


def checkpoints_at(folder, fingerprint="one", **changes):
    return FinetuneCheckpointHandler(folder, tiny(**changes), fingerprint, TrainingProgress(), StopRequest())


def engine_after(iteration, weight=0.0):
    """An engine of epochs of four steps after step `iteration`; its network has one weight."""
    network = nn.Linear(1, 1)
    nn.init.constant_(network.weight, weight)
    state = SimpleNamespace(iteration=iteration, epoch=-(-iteration // 4), epoch_length=4, max_epochs=7)
    return SimpleNamespace(
        state=state, network=network, optimizer=torch.optim.SGD(network.parameters(), lr=1),
        _process_function=SimpleNamespace(skipped=iteration, skipped_in_a_row=1),
    )  # fmt: skip


def saved_steps(folder):
    return sorted(int(path.stem.removeprefix("step_")) for path in folder.glob("*.pt"))


def test_checkpoints_are_written_every_third_epoch_and_at_the_end(tmp_path):
    checkpoints = checkpoints_at(tmp_path, checkpoint_every=3, keep_checkpoints=9)
    for epoch in range(1, 8):
        checkpoints._after_step(engine_after(4 * epoch - 1))
        checkpoints._after_step(engine_after(4 * epoch))
        checkpoints._after_epoch(engine_after(4 * epoch))
    assert saved_steps(tmp_path) == [12, 24, 28]


def test_a_stop_request_saves_within_the_epoch_or_after_its_validation(tmp_path):
    checkpoints = checkpoints_at(tmp_path, checkpoint_every=100)
    checkpoints.stop.signal = 15
    with pytest.raises(SystemExit):
        checkpoints._after_step(engine_after(5))
    checkpoints._after_step(engine_after(8))
    assert saved_steps(tmp_path) == [5], "the last step of an epoch waits for the epoch's record"
    with pytest.raises(SystemExit):
        checkpoints._after_epoch(engine_after(8))
    assert saved_steps(tmp_path) == [5, 8]


@pytest.mark.parametrize(("steps", "saved"), [(2, [2]), (4, [4])])
def test_an_attached_handler_stops_within_and_after_an_epoch(tmp_path, steps, saved):
    """A real engine with epochs of four steps, asked to stop in its second or its last step."""
    checkpoints, network = checkpoints_at(tmp_path, checkpoint_every=100), nn.Linear(1, 1)

    def step(engine, batch):
        if engine.state.iteration == steps:
            checkpoints.stop.signal = 15

    engine = Engine(step)
    engine.network, engine.optimizer = network, torch.optim.SGD(network.parameters(), lr=1)
    step.skipped, step.skipped_in_a_row = 0, 0
    checkpoints.attach(engine)
    with pytest.raises(SystemExit):
        engine.run(range(4), max_epochs=2)
    assert saved_steps(tmp_path) == saved


def test_a_checkpoint_restores_weights_position_and_record(tmp_path):
    empty = engine_after(0)
    assert not checkpoints_at(tmp_path / "c").restore(empty)
    written = checkpoints_at(tmp_path / "c")
    written.progress.best_epoch = 2
    written.save(engine_after(10, weight=0.5))
    restored = checkpoints_at(tmp_path / "c")
    assert restored.restore(empty)
    assert (empty.state.iteration, empty.state.epoch) == (10, 2)
    assert empty.network.weight.item() == 0.5
    assert (empty._process_function.skipped, empty._process_function.skipped_in_a_row) == (10, 1)
    assert restored.progress.best_epoch == 2
    with pytest.raises(MedpriorError, match="other settings"):
        checkpoints_at(tmp_path / "c", "another").restore(empty)


def test_the_first_process_alone_writes_and_says_when_it_cannot(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    blocked = checkpoints_at(tmp_path / "file" / "checkpoints")
    with pytest.raises(TrainingFailed, match="a checkpoint cannot be written"):
        blocked.save(engine_after(4))
    monkeypatch.setattr(handlers, "process_rank", lambda: 1)
    blocked.save(engine_after(4))
    checkpoints_at(tmp_path / "c").save(engine_after(4))
    assert not (tmp_path / "c").exists()
