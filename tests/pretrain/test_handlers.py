"""Checkpoints, health and metrics of a run: what is cut off ends with the weights of what was not."""

import math
import signal
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
    pretrain_backbone(phantom_cohort, folder, phantom_prior, PretrainSettings.checked(ALL))
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
    pretrain_backbone(phantom_cohort, cut, phantom_prior, PretrainSettings.checked(ALL))
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
    pretrain_backbone(phantom_cohort, tmp_path / "whole", phantom_prior, PretrainSettings.checked(settings))
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
    pretrain_backbone(phantom_cohort, cut, phantom_prior, PretrainSettings.checked(settings))
    equal(tmp_path / "whole", cut)
