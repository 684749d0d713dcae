"""A stage as a MONAI engine, and the numbers it leaves."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from torch import nn

from medprior.bundle.stage_engine import StageEngine, flatten_numbers, get_task_network, load_result_numbers
from medprior.deploy.inference.predictor import Predictor
from medprior.errors import ConfigError
from medprior.finetune.model import Model


def test_flattened_keeps_plain_numbers():
    nested = {"a": {"value": 1, "ci95": [0, 2]}, "b": {"c": 2.0, "d": None}, "e": True, "f": "x"}
    assert flatten_numbers(nested) == {"a": 1.0, "b.c": 2.0}


def test_numbers_of_metrics_stand_over_those_of_the_summary(tmp_path):
    assert load_result_numbers(tmp_path) == {}
    (tmp_path / "summary.json").write_text(json.dumps({"auc": 1, "files": {"accepted": 3}}))
    (tmp_path / "metrics.json").write_text(json.dumps({"auc": {"value": 2, "n": 9}}))
    (tmp_path / "config.json").write_text(json.dumps({"seed": 7}))
    assert load_result_numbers(tmp_path) == {"auc": 2.0, "auc.n": 9.0, "files.accepted": 3.0}


@dataclass
class Counts:
    """What a stage returns."""

    ok: int
    files: int
    text: str = "x"


def test_a_stage_runs_once_and_its_own_numbers_stand_over_those_it_wrote(tmp_path):
    calls = []

    def stage() -> Counts:
        calls.append(1)
        (tmp_path / "summary.json").write_text(json.dumps({"ok": 1, "seconds": 2.5}))
        return Counts(ok=4, files=5)

    engine = StageEngine(stage, str(tmp_path))
    engine.run()
    assert calls == [1]
    assert engine.state.metrics == {"ok": 4.0, "files": 5.0, "seconds": 2.5}
    assert (engine.state.epoch, engine.state.iteration) == (1, 1)


def test_a_stage_that_returns_no_record_leaves_what_it_wrote(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"auc": {"value": 0.5}}))
    engine = StageEngine(lambda: {"ok": 4}, tmp_path, network=nn.Linear(1, 1))
    engine.run()
    assert engine.state.metrics == {"auc": 0.5}


def test_the_network_is_that_of_the_task():
    network = nn.Linear(1, 1)
    model = Model(network, "segmentation", ("heart",), 64, 64, np.ones(1), np.ones(1), {}, {})
    predictor = Predictor({"segmentation": model}, "digest")
    assert get_task_network(predictor, "segmentation") is network
    with pytest.raises(ConfigError, match="expected classification, found segmentation"):
        get_task_network(predictor, "classification")
