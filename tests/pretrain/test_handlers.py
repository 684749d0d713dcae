"""Checkpoints, health and metrics of a run: what is cut off ends with the weights of what was not."""

import math
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch

from medprior.errors import TrainingFailed
from medprior.networks import load_backbone
from medprior.networks.checkpoint import load_newest_checkpoint
from medprior.pretrain import Pretraining, PretrainSettings, handlers, pretrain_backbone
from medprior.settings import merge_mappings
from tests.deploy.servers import free_port
from tests.recording_observer import RecordingObserver

from .runs import TINY_RUN, load_teacher_weights, run_settings, start_run


def test_passing_through_one_prototype_is_no_collapse(phantom_cohort, tmp_path):
    """The entropy must stay there, late in the run; one window of many does not count."""
    run = Pretraining(phantom_cohort, tmp_path / "out", settings=run_settings(steps=60, window=1))
    run.trainer.state.iteration = 40
    healthy = 0.5 * math.log(TINY_RUN["dino"]["prototypes"])
    rows = [{"step": float(step), "teacher_entropy": healthy} for step in range(1, 41)]
    run.metrics.rows = rows
    health = handlers.HealthHandler(run.metrics)
    rows[-1]["teacher_entropy"] = 0.0
    health._check(run.trainer)
    for row in rows[-9:]:
        row["teacher_entropy"] = 0.0
    with pytest.raises(TrainingFailed, match="teacher_momentum"):
        health._check(run.trainer)


def test_the_observer_receives_every_window(phantom_cohort, tmp_path):
    observer = RecordingObserver()
    run = Pretraining(phantom_cohort, tmp_path, settings=run_settings(steps=4, window=2), observer=observer)
    run.trainer.run()
    assert observer.received == {int(row.pop("step")): row for row in map(dict, run.metrics.rows)}
    assert list(observer.received) == [2, 4]


def test_other_settings_do_not_continue_a_run(phantom_cohort, tmp_path):
    pretrain_backbone(phantom_cohort, tmp_path / "out", settings=run_settings())
    with pytest.raises(TrainingFailed, match="other settings"):
        pretrain_backbone(phantom_cohort, tmp_path / "out", settings=run_settings(seed=5))


def test_a_full_disk_stops_with_one_line_and_the_run_goes_on_later(phantom_cohort, tmp_path, monkeypatch):
    pretrain_backbone(phantom_cohort, tmp_path / "whole", settings=run_settings())
    saved = handlers.save_checkpoint

    def full(folder, step, state):
        if step > 4:
            raise OSError(28, "No space left on device")
        return saved(folder, step, state)

    monkeypatch.setattr(handlers, "save_checkpoint", full)
    with pytest.raises(TrainingFailed, match=r"No space left on device.*make room"):
        pretrain_backbone(phantom_cohort, tmp_path / "cut", settings=run_settings())
    monkeypatch.undo()
    pretrain_backbone(phantom_cohort, tmp_path / "cut", settings=run_settings())
    first, second = load_teacher_weights(tmp_path / "whole"), load_teacher_weights(tmp_path / "cut")
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_stopped_run_ends_with_the_same_weights(phantom_cohort, tmp_path):
    """SIGINT saves after the step, as SIGTERM does; `test_restart.py` kills."""
    pretrain_backbone(phantom_cohort, tmp_path / "whole", settings=run_settings())
    process = start_run(phantom_cohort, tmp_path / "cut", tmp_path, TINY_RUN)
    while not list((tmp_path / "cut" / "checkpoints").glob("step_*.pt")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not (tmp_path / "cut" / "config.json").exists()
    pretrain_backbone(phantom_cohort, tmp_path / "cut", settings=run_settings())
    first, second = load_teacher_weights(tmp_path / "whole"), load_teacher_weights(tmp_path / "cut")
    assert all(torch.equal(first[k], second[k]) for k in first)
    a, b = (pd.read_csv(tmp_path / name / "metrics.csv") for name in ("whole", "cut"))
    assert a.loss.tolist() == pytest.approx(b.loss.tolist())


def test_a_signal_to_one_process_stops_both_after_the_same_step(phantom_cohort, tmp_path):
    port = str(free_port())
    settings = TINY_RUN | {"steps": 400, "window": 1, "checkpoint_every": 1000}
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "CUDA_VISIBLE_DEVICES": ""}
    out = tmp_path / "cut"
    both = [start_run(phantom_cohort, out, tmp_path, settings, RANK=str(rank), **meeting) for rank in range(2)]
    while not (out / "metrics.csv").exists():
        assert [process.poll() for process in both] == [None, None]
        time.sleep(0.02)
    both[1].send_signal(signal.SIGTERM)
    assert [process.wait(120) for process in both] == [143, 143]
    ends = [int((tmp_path / f"cut_ended_{rank}").read_text()) for rank in range(2)]
    assert 0 < ends[0] == ends[1] < 400
    assert load_newest_checkpoint(out / "checkpoints")["step"] == ends[0]
    assert not (out / "config.json").exists()


ALL = merge_mappings(
    TINY_RUN,
    {
        "recipe": "all",
        "gradient_every": 3,
        "crops": {"global_size": 48},
        "span": {
            "assignment": "hungarian", "assign_after": 0.5, "guard": True, "guard_every": 2,
            "floor": 0.1,
        },
        "ibot": {"separate_head": True},
        "loca": {"cluster": True},
    },
)  # fmt: skip


def equal(one, two):
    first, second = (load_backbone(folder) for folder in (one, two))
    assert first.heads == second.heads
    assert len(first.heads) == 3
    left, right = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(left[key], right[key]) for key in left)
    left, right = (load_newest_checkpoint(folder / "checkpoints") for folder in (one, two))
    for part in ("learner", "optimiser"):
        assert flat(left[part]).keys() == flat(right[part]).keys()
        for key, value in flat(left[part]).items():
            assert torch.equal(value, flat(right[part])[key]), key


def flat(state, lead=""):
    """Leaves of nested containers."""
    if not isinstance(state, dict | list):
        return {lead: torch.as_tensor(-1 if state is None else state)}
    items = state.items() if isinstance(state, dict) else enumerate(state)
    return {k: v for name, part in items for k, v in flat(part, f"{lead}/{name}").items()}


@pytest.fixture(scope="module")
def whole(phantom_cohort, phantom_prior, tmp_path_factory):
    folder = tmp_path_factory.mktemp("restart") / "whole"
    pretrain_backbone(phantom_cohort, folder, phantom_prior, PretrainSettings.from_values(ALL))
    return folder


def test_killed_run_with_every_objective(whole, phantom_cohort, phantom_prior, tmp_path):
    cut = tmp_path / "cut"
    process = start_run(phantom_cohort, cut, phantom_prior, ALL)
    while not (cut / "checkpoints" / "step_00000004.pt").is_file():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait(60)
    # before the heads are assigned (step 6), so that the sums so far must come back too
    state = load_newest_checkpoint(cut / "checkpoints")
    assert (state["learner"]["objectives.span.heads"] == -1).all()
    assert state["learner"]["objectives.span.cost"].abs().sum() > 0
    wanted = ("ibot.centre", "dino.centre", "span.guard.factor", "span.guard.norms")
    assert {f"objectives.{key}" for key in wanted} <= state["learner"].keys()
    parts = {key.split(".")[2] for key in state["learner"] if key.startswith("student.parts.")}
    assert parts == {"ibot", "loca", "loca_prototypes"}
    pretrain_backbone(phantom_cohort, cut, phantom_prior, PretrainSettings.from_values(ALL))
    equal(whole, cut)
    a, b = (pd.read_csv(folder / "metrics.csv") for folder in (whole, cut))
    same = [name for name in a if name not in ("images_per_second", "data_wait")]
    pd.testing.assert_frame_equal(a[same], b[same])
    wanted = {f"gradient_{name}" for name in ("dino", "koleo", "ibot", "span", "sar", "loca")}
    assert wanted <= set(a)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_random_kills(phantom_cohort, phantom_prior, tmp_path):
    settings = merge_mappings(ALL, {"steps": 60, "checkpoint_every": 1})
    pretrain_backbone(phantom_cohort, tmp_path / "whole", phantom_prior, PretrainSettings.from_values(settings))
    rng, cut = np.random.default_rng(0), tmp_path / "cut"
    for kill in range(20):
        process = start_run(phantom_cohort, cut, phantom_prior, settings)
        begun = sorted((cut / "checkpoints").glob("step_*.pt"))
        while process.poll() is None:
            now = sorted((cut / "checkpoints").glob("step_*.pt"))
            if now and now[-1:] != begun[-1:]:
                break
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.35))
        assert process.poll() is None, f"ended before kill {kill}"
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    pretrain_backbone(phantom_cohort, cut, phantom_prior, PretrainSettings.from_values(settings))
    equal(tmp_path / "whole", cut)


def test_training_goes_on_while_a_checkpoint_is_written(phantom_cohort, tmp_path, monkeypatch):
    """The file holds the state of its own step, though the run is past it when the disk takes it."""
    written, finished = [], threading.Event()
    save = handlers.save_checkpoint

    def slow(folder, step, state):
        if step == 4:
            assert finished.wait(60)
        written.append(step)
        return save(folder, step, state)

    monkeypatch.setattr(handlers, "save_checkpoint", slow)
    run = Pretraining(phantom_cohort, tmp_path / "out", settings=run_settings(checkpoint_every=4, steps=8))
    weights = {}

    def look(engine):
        step = engine.state.iteration
        weights[step] = engine.learner.student.head.prototypes.detach().clone()
        if step == 6:
            assert written == []
            finished.set()

    run.trainer.add_event_handler(handlers.Events.ITERATION_COMPLETED, look)
    run.run()
    assert written == [4, 8]
    state = torch.load(tmp_path / "out" / "checkpoints" / "step_00000004.pt", weights_only=True)
    assert torch.equal(state["learner"]["student.head.prototypes"], weights[4])
    assert not torch.equal(weights[4], weights[6])


def test_checkpoints_come_by_time_unless_steps_are_set(phantom_cohort, tmp_path):
    """A step of a second: with 2.5 seconds between checkpoints every third one is saved."""
    run = Pretraining(
        phantom_cohort, tmp_path, settings=run_settings(steps=8, checkpoint_every=None, checkpoint_seconds=2.5)
    )
    saved = []

    def note(engine):
        run.checkpoints._saved -= 1.0  # a second goes by
        before = run.checkpoints._saved
        run.checkpoints._save_if_due(engine)
        if run.checkpoints._saved != before:
            saved.append(engine.state.iteration)

    run.checkpoints._start(run.trainer)
    for step in range(1, 8):
        run.trainer.state.iteration = step
        note(run.trainer)
    run.checkpoints.finish_writing()
    assert saved == [3, 6]
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("*.pt")) == [
        "step_00000003.pt", "step_00000006.pt",
    ]  # fmt: skip


def test_no_collapse_before_half_of_the_run(phantom_cohort, tmp_path):
    run = Pretraining(phantom_cohort, tmp_path / "out", settings=run_settings(steps=60, window=1))
    run.metrics.rows = [{"step": float(step), "teacher_entropy": 0.0} for step in range(1, 31)]
    health = handlers.HealthHandler(run.metrics)
    run.trainer.state.iteration = 30  # 29 of 60 steps are done
    health._check(run.trainer)
    run.trainer.state.iteration = 31
    health._check(run.trainer)  # the window of this step is not closed yet
    run.metrics.rows.append({"step": 31.0, "teacher_entropy": 0.0})
    with pytest.raises(TrainingFailed, match="collapsed"):
        health._check(run.trainer)


def test_columns_come_in_order_of_first_appearance(tmp_path):
    rows = [{"step": 2.0, "loss": 1 / 3}, {"step": 4.0, "accuracy": 1e-9, "loss": 123456.7}]
    handlers.write_metrics_csv(tmp_path / "metrics.csv", rows)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "step,loss,accuracy", "2,0.333333,nan", "4,123457,1e-09",
    ]  # fmt: skip


def test_a_window_is_the_mean_of_the_steps_that_logged_a_key(phantom_cohort, tmp_path):
    run = Pretraining(phantom_cohort, tmp_path, settings=run_settings(window=2))
    metrics, trainer = run.metrics, run.trainer
    metrics._start(trainer)
    for step, logs in enumerate([{"loss": 1.0}, {"loss": 4.0, "loss_dino": 3.0}, {"loss": 7.0}], start=1):
        trainer.state.iteration, trainer.state.output = step, logs
        metrics._count_step(trainer)
    assert [(row["step"], row["loss"], row["loss_dino"]) for row in metrics.rows] == [(2, 2.5, 3)]
    metrics._finish(trainer)
    assert [(row["step"], row["loss"], row.get("loss_dino")) for row in metrics.rows[1:]] == [(3, 7, None)]
    assert pd.read_csv(tmp_path / "metrics.csv").step.tolist() == [2, 3]


def test_the_first_signal_waits_for_the_step_and_the_second_does_not(tmp_path):
    checkpoints = handlers.CheckpointHandler(tmp_path, None)
    checkpoints.stop_after_step(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        checkpoints.stop_after_step(signal.SIGINT)
    assert stopped.value.code == 130


def test_windows_are_appended_and_new_columns_write_the_table_anew(phantom_cohort, tmp_path):
    run = Pretraining(phantom_cohort, tmp_path, settings=run_settings(window=1))
    metrics, trainer, path = run.metrics, run.trainer, tmp_path / "metrics.csv"
    metrics._start(trainer)
    files = []
    for step, logs in enumerate([{"loss": 1 / 3}, {"loss": 2.0}, {"loss": 3.0, "more": 4.0}, {"loss": 5.0}], start=1):
        trainer.state.iteration, trainer.state.output = step, logs
        metrics._count_step(trainer)
        files.append(path.stat().st_ino)
    assert files[0] == files[1] != files[2] == files[3]
    appended = path.read_text()
    handlers.write_metrics_csv(path, metrics.rows)
    assert path.read_text() == appended
    assert pd.read_csv(path).loss.tolist() == pytest.approx([1 / 3, 2, 3, 5], abs=1e-5)


def test_a_table_cut_off_by_a_kill_is_written_anew(phantom_cohort, tmp_path):
    run = Pretraining(phantom_cohort, tmp_path, settings=run_settings(window=1))
    run.metrics.rows = [{"step": 1.0, "loss": 2.0}]  # of the checkpoint
    (tmp_path / "metrics.csv").write_text("step,loss\n1,2\n2,0.3")
    run.metrics._start(run.trainer)
    run.trainer.state.iteration, run.trainer.state.output = 2, {"loss": 4.0}
    run.metrics._count_step(run.trainer)
    assert pd.read_csv(tmp_path / "metrics.csv").loss.tolist() == [2, 4]
