"""The whole row at its smallest, from DICOM to a prediction out of the registry."""

import json
from pathlib import Path

import pytest

from medprior.cli import main
from medprior.demo import real_demo, recipe_demo
from medprior.demo.metrics_table import build_summary_table, format_metric_cell, format_text_table
from medprior.demo.real_demo import RealDemoSettings, build_comparison_settings
from medprior.demo.recipe_demo import RECIPE_ARMS, RecipeDemoSettings, build_recipe_study, build_supervised_study
from medprior.evaluate.compare.plan import check_arms
from medprior.evaluate.compare.settings import CompareSettings

SMALL = [
    "patients=24", "image_size=160",
    "pretrain=[steps=8, batch=8, window=4, network.width=24, network.depth=2, "
    "crops.global_size=32, crops.local_size=16, crops.locals=1, dino.prototypes=16]",
    "classification=[epochs=1, freeze=true]", "segmentation=[epochs=1, size=32]",
]  # fmt: skip


@pytest.mark.timeout(900)
def test_row_ends_with_a_prediction_from_the_registry(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MEDPRIOR_IDENTITY_KEY", str(tmp_path / "keys" / "identity.key"))
    argv = ["demo", "row"] + [part for item in SMALL for part in ("--set", item)]
    assert main(argv) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "models:/medprior-demo@champion" in out
    assert "registered prior" in out
    metrics = json.loads((tmp_path / "row/evidence/metrics.json").read_text())
    low, high = metrics["attention.pixel_ap.heart"]["ci95"]
    assert 0 <= low <= metrics["attention.pixel_ap.heart"]["value"] <= high <= 1
    assert "prior.pixel_ap.heart" in metrics
    assert main(argv) == 0
    assert capsys.readouterr().out.count("done before") == 13


def test_real_row_names_what_is_missing(tmp_path, capsys):
    assert main(["demo", str(tmp_path / "out"), "--real", str(tmp_path)]) == 2
    assert "no nih/" in capsys.readouterr().err


FULL = Path(real_demo.__file__).with_name("real_full.json")
TINY = {
    "steps": 4, "batch": 4, "window": 2, "network": {"width": 24, "depth": 1},
    "crops": {"global_size": 32, "local_size": 16, "locals": 1}, "dino": {"prototypes": 16},
}  # fmt: skip


def test_studies_are_settings_of_a_comparison(tmp_path):
    """Every arm of both studies fits, with all of its budgets, before hours are spent."""
    for study, arms in (
        (build_recipe_study(tmp_path, RecipeDemoSettings()), 18),
        (build_supervised_study(RecipeDemoSettings()), 3),
        (build_comparison_settings(RealDemoSettings(), ["tuberculosis"]), 10),
        (build_comparison_settings(RealDemoSettings.load(FULL, []), ["tuberculosis"]), 10),
    ):
        settings = CompareSettings.checked(study)
        assert len(settings.arms) == arms
        check_arms({name: settings.arm(name, tmp_path) for name in settings.arms}, settings)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_recipes_end_with_both_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDPRIOR_IDENTITY_KEY", str(tmp_path / "keys" / "identity.key"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(recipe_demo, "RECIPE_ARMS", {k: RECIPE_ARMS[k] for k in ("dino+koleo", "loca", "all")})
    small = {"epochs": 1, "size": 32, "network": {"width": 24, "depth": 1, "image_size": 32}}
    settings = RecipeDemoSettings(
        patients=70, image_size=128, seeds=1, workers=0, pretrain=TINY, supervised=small,
        segmentation={"epochs": 1, "size": 32},
    )  # fmt: skip
    recipe_demo.run_recipe_demo(tmp_path / "row", settings)
    table = (tmp_path / "row/recipes/table.md").read_text()
    assert "| all+life |" in table
    assert "fine-tuned Dice" in table
    assert "| sar |" in (tmp_path / "row/supervised/table.md").read_text()


def test_table_shows_numbers_and_leaves_out_what_is_not_there():
    record = {"value": 0.5, "ci95": [0.4, 0.6], "n": 9}
    metrics = {"attention.pixel_ap.heart": record, "prior.pixel_ap.heart": record}
    table = build_summary_table(metrics)
    assert table[0] == ["test split", "AP heart"]
    assert [line[0] for line in table[1:]] == ["SPAN", "static prior"]
    assert "0.500 [0.400, 0.600]" in format_text_table(table)
    assert format_metric_cell({"x": {"value": None, "ci95": [None, None], "n": 0}}, "x") == "-"
