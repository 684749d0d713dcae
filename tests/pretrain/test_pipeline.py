"""Whole runs: results on disk, the same seed, collapse, and input that is refused."""

import pandas as pd
import pytest
import torch

from medprior.errors import ConfigError, InputMissing, MedpriorError, TrainingFailed
from medprior.networks import load_backbone
from medprior.pretrain import PretrainSettings, pretrain_backbone
from medprior.pretrain.objectives.head_assignment import assign_heads

from .runs import TINY_RUN, load_teacher_weights, run_settings


def test_result_folder_and_same_seed_same_weights(phantom_cohort, tmp_path):
    pretrain_backbone(phantom_cohort, tmp_path / "a", settings=run_settings())
    pretrain_backbone(phantom_cohort, tmp_path / "b", settings=run_settings())
    first, second = load_teacher_weights(tmp_path / "a"), load_teacher_weights(tmp_path / "b")
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
    pretrain_backbone(phantom_cohort, tmp_path / "dino", settings=run_settings())
    span = run_settings(recipe="span", span={"weight": 0.0})
    pretrain_backbone(phantom_cohort, tmp_path / "span", settings=span)
    first, second = load_teacher_weights(tmp_path / "dino"), load_teacher_weights(tmp_path / "span")
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_collapse_stops_the_run_and_names_the_knob(phantom_cohort, tmp_path):
    dino = TINY_RUN["dino"] | {"teacher_temperature": 100.0}
    with pytest.raises(TrainingFailed, match="teacher_temperature"):
        pretrain_backbone(phantom_cohort, tmp_path / "out", settings=run_settings(dino=dino))


def test_bad_input(phantom_cohort, tmp_path):
    with pytest.raises(MedpriorError, match="needs a spatial prior"):
        pretrain_backbone(phantom_cohort, tmp_path / "a", settings=run_settings(recipe="span"))
    with pytest.raises(ConfigError, match="unknown key 'stepz'"):
        PretrainSettings.load(None, ["stepz=3"])
    with pytest.raises(InputMissing, match="ingest"):
        pretrain_backbone(tmp_path / "no", tmp_path / "b", settings=run_settings())
    with pytest.raises(ConfigError, match="no such device"):
        pretrain_backbone(phantom_cohort, tmp_path / "c", settings=run_settings(device="cuda:7"))
    with pytest.raises(ConfigError, match="too many structures"):
        assign_heads(("a", "b", "c", "d"), 6, None)
    with pytest.raises(ConfigError, match="head map"):
        assign_heads(("a", "b"), 6, {"a": 0, "b": 0})
