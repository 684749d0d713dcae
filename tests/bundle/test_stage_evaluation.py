"""The evaluate stage as bundles call it."""

import json

import pytest

from medprior.bundle.stage_evaluation import run_evaluation
from medprior.cohort import Cohort
from medprior.errors import ConfigError
from tests.deploy.tiny_models import train


def test_the_evaluation_of_a_mapping_of_settings_is_printed_with_its_report(phantom_cohort, tmp_path, capsys):
    model = train(phantom_cohort, tmp_path / "model", "classification", epochs=1)
    settings = {"resamples": 20, "device": "cpu"}
    out = tmp_path / "evidence"
    images = len(Cohort.open(phantom_cohort).split("val"))
    assert images != len(Cohort.open(phantom_cohort).split("test"))
    metrics = run_evaluation(phantom_cohort, out, model=str(model), split="val", settings=settings)
    printed = capsys.readouterr().out
    assert printed.endswith(f"report: {out / 'report.html'}\n")
    assert f"{metrics['classification.mauc']['value']:.3f}" in printed
    assert json.loads((out / "config.json").read_text())["settings"]["resamples"] == 20
    assert json.loads((out / "metrics.json").read_text())["data.images.evaluated"]["value"] == images


def test_mistyped_settings_are_refused_before_anything_is_written(phantom_cohort, tmp_path):
    with pytest.raises(ConfigError, match="unknown key 'resample'"):
        run_evaluation(phantom_cohort, tmp_path / "evidence", settings={"resample": 20})
    assert not (tmp_path / "evidence").exists()
