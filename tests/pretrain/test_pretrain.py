"""Whole runs: results on disk, resume after a kill, collapse, bad input."""

import math
import signal
import time

import pandas as pd
import pytest
import torch

from medprior.errors import ConfigError, InputMissing, MedpriorError, TrainingFailed
from medprior.networks import load_backbone
from medprior.networks.checkpoint import load_newest_checkpoint, save_checkpoint
from medprior.pretrain import Pretraining, PretrainSettings, handlers, pretrain_backbone
from medprior.pretrain.objectives.head_assignment import assign_heads

from .conftest import start

TINY = {
    "recipe": "dino",
    "steps": 12,
    "batch": 8,
    "window": 4,
    "checkpoint_every": 4,
    "network": {"width": 24, "depth": 2, "heads": 6, "registers": 1},
    "crops": {"global_size": 32, "local_size": 16, "locals": 1},
    "dino": {"prototypes": 16, "hidden": 16, "bottleneck": 8},
}


def tiny(**values):
    return PretrainSettings.checked(TINY | values)


def weights(folder):
    return load_backbone(folder).network.state_dict()


def test_result_folder_and_same_seed_same_weights(phantom_cohort, tmp_path):
    pretrain_backbone(phantom_cohort, tmp_path / "a", settings=tiny())
    pretrain_backbone(phantom_cohort, tmp_path / "b", settings=tiny())
    first, second = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(first[k], second[k]) for k in first)
    backbone = load_backbone(tmp_path / "a")
    assert backbone.heads == {}
    assert backbone.size == 32
    assert backbone.config["training"]["uniform_entropy"] == pytest.approx(2.7726, abs=1e-3)
    table = pd.read_csv(tmp_path / "a" / "metrics.csv")
    assert table.step.tolist() == [4, 8, 12]
    wanted = {"loss_dino", "loss_koleo", "teacher_entropy", "feature_std", "data_wait"}
    assert wanted <= set(table.columns)
    assert (tmp_path / "a" / "attention.png").stat().st_size > 1000


def test_objective_at_weight_zero_is_not_computed(phantom_cohort, tmp_path):
    """A SPAN run with weight 0 is the DINO run, bit for bit."""
    pretrain_backbone(phantom_cohort, tmp_path / "dino", settings=tiny())
    span = tiny(recipe="span", span={"weight": 0.0})
    pretrain_backbone(phantom_cohort, tmp_path / "span", settings=span)
    first, second = weights(tmp_path / "dino"), weights(tmp_path / "span")
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_stopped_run_ends_with_the_same_weights(phantom_cohort, tmp_path):
    """SIGINT saves after the step, as SIGTERM does; `test_restart.py` kills."""
    pretrain_backbone(phantom_cohort, tmp_path / "whole", settings=tiny())
    process = start(phantom_cohort, tmp_path / "cut", tmp_path, TINY)
    while not list((tmp_path / "cut" / "checkpoints").glob("step_*.pt")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not (tmp_path / "cut" / "config.json").exists()
    pretrain_backbone(phantom_cohort, tmp_path / "cut", settings=tiny())
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(first[k], second[k]) for k in first)
    a, b = (pd.read_csv(tmp_path / name / "metrics.csv") for name in ("whole", "cut"))
    assert a.loss.tolist() == pytest.approx(b.loss.tolist())


def test_damaged_checkpoint_falls_back_and_all_damaged_stops(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"step": step, "x": torch.ones(3) * step})
    assert len(list(tmp_path.glob("*.pt"))) == 2
    newest = tmp_path / "step_00000003.pt"
    newest.write_bytes(newest.read_bytes()[:-20])
    assert load_newest_checkpoint(tmp_path)["step"] == 2
    older = tmp_path / "step_00000002.pt"
    older.write_bytes(b"x" + older.read_bytes()[1:])
    with pytest.raises(InputMissing, match="every checkpoint is damaged"):
        load_newest_checkpoint(tmp_path)
    assert load_newest_checkpoint(tmp_path / "nothing") is None


def test_collapse_stops_the_run_and_names_the_knob(phantom_cohort, tmp_path):
    dino = TINY["dino"] | {"teacher_temperature": 100.0}
    with pytest.raises(TrainingFailed, match="teacher_temperature"):
        pretrain_backbone(phantom_cohort, tmp_path / "out", settings=tiny(dino=dino))


def test_passing_through_one_prototype_is_no_collapse(phantom_cohort, tmp_path):
    """The entropy must stay there, late in the run; one window of many does not count."""
    run = Pretraining(phantom_cohort, tmp_path / "out", settings=tiny(steps=60, window=1))
    run.trainer.state.iteration = 40
    healthy = 0.5 * math.log(TINY["dino"]["prototypes"])
    rows = [{"step": float(step), "teacher_entropy": healthy} for step in range(1, 41)]
    run.metrics.rows = rows
    health = handlers.HealthHandler(run.metrics)
    rows[-1]["teacher_entropy"] = 0.0
    health._check(run.trainer)
    for row in rows[-9:]:
        row["teacher_entropy"] = 0.0
    with pytest.raises(TrainingFailed, match="teacher_momentum"):
        health._check(run.trainer)


def test_non_finite_loss_is_skipped_then_stops(phantom_cohort, tmp_path):
    run = Pretraining(phantom_cohort, tmp_path / "out", settings=tiny(steps=60))
    before = {k: v.clone() for k, v in run.trainer.learner.student.state_dict().items()}
    run.dataset.images = run.dataset.images * float("nan")
    with pytest.raises(TrainingFailed, match="not finite"):
        run.run()
    after = run.trainer.learner.student.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_bad_input(phantom_cohort, tmp_path):
    with pytest.raises(MedpriorError, match="needs a spatial prior"):
        pretrain_backbone(phantom_cohort, tmp_path / "a", settings=tiny(recipe="span"))
    with pytest.raises(ConfigError, match="unknown key 'stepz'"):
        PretrainSettings.load(None, ["stepz=3"])
    with pytest.raises(InputMissing, match="ingest"):
        pretrain_backbone(tmp_path / "no", tmp_path / "b", settings=tiny())
    with pytest.raises(ConfigError, match="no such device"):
        pretrain_backbone(phantom_cohort, tmp_path / "c", settings=tiny(device="cuda:7"))
    with pytest.raises(ConfigError, match="too many structures"):
        assign_heads(("a", "b", "c", "d"), 6, None)
    with pytest.raises(ConfigError, match="head map"):
        assign_heads(("a", "b"), 6, {"a": 0, "b": 0})


def test_other_settings_do_not_continue_a_run(phantom_cohort, tmp_path):
    pretrain_backbone(phantom_cohort, tmp_path / "out", settings=tiny())
    with pytest.raises(TrainingFailed, match="other settings"):
        pretrain_backbone(phantom_cohort, tmp_path / "out", settings=tiny(seed=5))


def test_a_full_disk_stops_with_one_line_and_the_run_goes_on_later(phantom_cohort, tmp_path, monkeypatch):
    pretrain_backbone(phantom_cohort, tmp_path / "whole", settings=tiny())
    saved = handlers.save_checkpoint

    def full(folder, step, state):
        if step > 4:
            raise OSError(28, "No space left on device")
        return saved(folder, step, state)

    monkeypatch.setattr(handlers, "save_checkpoint", full)
    with pytest.raises(TrainingFailed, match=r"No space left on device.*make room"):
        pretrain_backbone(phantom_cohort, tmp_path / "cut", settings=tiny())
    monkeypatch.undo()
    pretrain_backbone(phantom_cohort, tmp_path / "cut", settings=tiny())
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(first[k], second[k]) for k in first)
