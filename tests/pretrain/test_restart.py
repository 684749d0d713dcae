"""A run that is cut off ends with the weights of one that was not, with every objective on."""

import signal
import time

import numpy as np
import pandas as pd
import pytest
import torch

from medprior.networks import load_backbone
from medprior.networks.checkpoint import load_newest_checkpoint
from medprior.pretrain import PretrainSettings, pretrain_backbone
from medprior.settings import merge_mappings

from .conftest import start
from .test_pretrain import TINY

ALL = merge_mappings(
    TINY,
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
    process = start(phantom_cohort, cut, phantom_prior, ALL)
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
        process = start(phantom_cohort, cut, phantom_prior, settings)
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
