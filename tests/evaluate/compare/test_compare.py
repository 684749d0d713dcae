"""Whole comparisons with few steps: continued, refused, fine-tuned."""

import json

import numpy as np
import pytest

from medprior.errors import ConfigError
from medprior.evaluate.compare.compare import compare_recipes
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.provenance import read_config
from tests.evaluate.conftest import SMALL

SETTINGS = CompareSettings.from_values(
    {
        "seeds": 2,
        "fractions": [0.5, 1.0],
        "evaluate": {"resamples": 40, "map_size": 32, "neighbours": 5},
        "pretrain": {
            "steps": 2,
            "batch": 8,
            "network": SMALL.model_dump(include={"width", "depth", "heads", "patch"}),
            "crops": {"global_size": 32, "local_size": 16, "locals": 1},
            "dino": {"prototypes": 16, "hidden": 16, "bottleneck": 8},
        },
    }
)


def test_compare_runs_resumes_and_refuses_another_plan(tmp_path, cohort_path, monkeypatch):
    first = compare_recipes(cohort_path, tmp_path, ["dino"], settings=SETTINGS)
    assert len(first["attention.pixel_ap.heart"]["seeds"]) == 2
    assert first["low_data.100pct.linear_mauc"] == first["features.linear_mauc"]
    assert 0 <= first["low_data.50pct.pooled_linear_mauc"]["value"] <= 1
    assert "difference.random_weights.features.knn_mauc" in first
    assert (tmp_path / "low_data.png").is_file()
    assert (tmp_path / "runs" / "dino-1" / "cost.json").is_file()

    def again(*_):
        raise AssertionError("a finished run was repeated")

    (tmp_path / "metrics.json").unlink()
    monkeypatch.setattr("medprior.evaluate.compare.run.pretrain_backbone", again)
    monkeypatch.setattr("medprior.evaluate.compare.run.score_backbone", again)
    assert compare_recipes(cohort_path, tmp_path, ["dino"], settings=SETTINGS) == first
    assert json.loads((tmp_path / "metrics.json").read_text()) == first
    other = SETTINGS.model_copy(update={"seeds": 3})
    with pytest.raises(ConfigError, match="comparison with other"):
        compare_recipes(cohort_path, tmp_path, ["dino"], settings=other)


def test_arms_are_fine_tuned_from_scratch_and_from_their_backbone(tmp_path, cohort_path):
    tuning = {"epochs": 1, "batch": 8, "size": 32, "network": SETTINGS.pretrain["network"]}
    settings = SETTINGS.model_copy(
        update={
            "seeds": 1,
            "fractions": (1.0,),
            "finetune": {"classification": tuning, "segmentation": tuning},
            "arms": {
                "scratch": Arm(recipe=None, finetune={"network": {"image_size": 32}}),
                "dino, cls": Arm(
                    recipe="dino",
                    finetune={"classification": {"head": "cls"}, "segmentation": None},
                ),
            },
        }
    )
    metrics = compare_recipes(cohort_path, tmp_path, ["dino", "scratch", "dino, cls"], settings=settings)
    for key in ("classification.mauc", "segmentation.dice.mean"):
        for lead in ("", "baseline.scratch.", "difference.scratch."):
            assert np.isfinite(metrics[f"{lead}{key}"]["value"]), f"{lead}{key}"
    assert metrics["low_data.100pct.finetuned_mauc"] == metrics["classification.mauc"]
    assert "baseline.scratch.features.linear_mauc" not in metrics
    assert metrics["cost.step_seconds"]["value"] > 0
    table = (tmp_path / "table.md").read_text().splitlines()
    assert table[0].startswith("| arm | attention pixel-AP |")
    names = ["| dino", "| scratch", "| dino, cls", "| random weights"]
    assert [row.split(" | ")[0] for row in table[2:]] == names
    blind = metrics["features.random_linear_mauc"]["value"]
    assert f"| {blind:.3f} [" in table[-1]
    above = metrics["baseline.dino, cls.difference.random_weights.features.linear_mauc"]
    assert above["value"] == pytest.approx(metrics["features.linear_mauc"]["value"] - blind)
    for arm in ("scratch-0", "dino, cls-0"):
        assert not (tmp_path / "runs" / arm / "backbone").exists()
    key = "features.linear_mauc"
    assert metrics[f"baseline.dino, cls.{key}"]["value"] == metrics[key]["value"]
    trained = read_config(tmp_path / "runs/dino, cls-0/classification-100pct")
    assert trained["settings"]["head"] == "cls"
    assert "backbone" in trained["inputs"]
