"""Runs that stop themselves: real collapses, recorded, not repeated, counted."""

import json

import numpy as np
import pytest

from medprior.cli import main
from medprior.errors import TrainingCollapsed, TrainingDiverged, TrainingFailed
from medprior.evaluate.compare.compare import compare_recipes
from medprior.evaluate.compare.failed_runs import (
    clear_failed_stages,
    find_failed_step,
    format_failures,
    has_failed_backbone,
    list_failures,
    read_failed_stages,
    record_failure,
)
from tests.evaluate.comparing import COLLAPSING, small


def test_only_what_says_something_of_the_arm_is_recorded(tmp_path):
    record_failure(tmp_path, "backbone", TrainingCollapsed("collapsed: entropy is 0.99 at step 12", fix="x"))
    record_failure(tmp_path, "classification-10pct", TrainingDiverged("the loss was not finite"))
    stages = read_failed_stages(tmp_path)
    assert stages["backbone"]["kind"] == "collapsed"
    assert stages["backbone"]["step"] == 12
    assert stages["classification-10pct"] == {
        "kind": "diverged", "reason": "the loss was not finite", "step": None,
    }  # fmt: skip
    full = TrainingFailed("a checkpoint cannot be written (No space left on device)")
    with pytest.raises(TrainingFailed, match="No space"):
        record_failure(tmp_path, "backbone", full)
    assert read_failed_stages(tmp_path) == stages


def test_who_shares_a_lost_backbone_is_lost_too(tmp_path):
    (tmp_path / "b").mkdir()
    assert not has_failed_backbone(tmp_path / "b", tmp_path / "a")
    record_failure(tmp_path / "a", "backbone", TrainingCollapsed("collapsed at step 7"))
    assert has_failed_backbone(tmp_path / "b", tmp_path / "a")
    assert read_failed_stages(tmp_path / "b") == read_failed_stages(tmp_path / "a")


def test_words_count_what_was_lost():
    rows = [{"stage": "backbone", "kind": "collapsed"}, {"stage": "seg-1pct", "kind": "diverged"}]
    assert format_failures({"of": 3, "failures": rows}) == "1 of 3 collapsed, 1 of 3 diverged in seg-1pct"
    assert format_failures({"of": 3}) == ""
    assert format_failures(None) == ""


def test_a_collapsed_arm_is_a_row_and_a_lost_seed_leaves_the_mean(tmp_path, cohort_path, monkeypatch):
    settings = small(arms={"hot": COLLAPSING})
    lost = tmp_path / "runs" / "dino-1"
    record_failure(lost, "backbone", TrainingCollapsed("collapsed: entropy is 0.99 at step 3"))
    metrics = compare_recipes(cohort_path, tmp_path, ["dino", "hot"], settings=settings)
    assert len(metrics["attention.pixel_ap.mean"]["seeds"]) == 1
    assert metrics["runs.lost"]["value"] == 1
    assert metrics["baseline.hot.runs.done"]["value"] == 0
    failures = metrics["baseline.hot.runs.lost"]["failures"]
    assert [(row["seed"], row["kind"]) for row in failures] == [(0, "collapsed"), (1, "collapsed")]
    assert all(2 <= row["step"] <= 4 and "of ln K" in row["reason"] for row in failures)
    assert not any("difference.hot." in key for key in metrics)
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    assert rows[0].startswith("| dino (1 of 2 collapsed) | ")
    assert rows[1].startswith("| hot (2 of 2 collapsed; no run finished) | - |")

    def again(*_):
        raise AssertionError("a lost run was repeated")

    monkeypatch.setattr("medprior.evaluate.compare.run.pretrain_backbone", again)
    assert compare_recipes(cohort_path, tmp_path, ["dino", "hot"], settings=settings) == metrics
    monkeypatch.undo()
    both = compare_recipes(cohort_path, tmp_path, ["dino", "hot"], settings=settings, retry=True)
    assert both["runs.lost"]["value"] == 0
    assert len(both["attention.pixel_ap.mean"]["seeds"]) == 2
    assert both["baseline.hot.runs.lost"]["value"] == 2
    assert np.isfinite(both["attention.pixel_ap.mean"]["value"])


def test_without_a_run_of_the_first_arm_the_rest_is_kept(tmp_path, cohort_path, capsys):
    settings = small(seeds=1, arms={"hot": COLLAPSING})
    config = tmp_path / "settings.json"
    config.write_text(settings.model_dump_json())
    out = tmp_path / "out"
    command = ["compare", str(cohort_path), str(out), "--no-tracking"]
    command += ["--recipes", "hot", "dino"]
    assert main([*command, "--config", str(config)]) == 3
    assert "no run of the first arm finished: 1 of 1 collapsed" in capsys.readouterr().err
    metrics = json.loads((out / "metrics.json").read_text())
    assert np.isfinite(metrics["baseline.dino.attention.pixel_ap.mean"]["value"])
    assert "hot (1 of 1 collapsed; no run finished)" in (out / "table.md").read_text()
    assert (out / "report.html").is_file()
    assert not (out / "config.json").exists()


def test_the_step_is_that_of_the_error_or_the_last_recorded(tmp_path):
    assert find_failed_step(TrainingDiverged("not finite at step 12"), tmp_path) == 12
    assert find_failed_step(TrainingDiverged("not finite"), tmp_path) is None
    (tmp_path / "metrics.csv").write_text("step,loss\n5,1\n10,2\n")
    assert find_failed_step(TrainingDiverged("not finite"), tmp_path) == 10
    (tmp_path / "metrics.csv").write_text("step,loss\n")
    assert find_failed_step(TrainingDiverged("not finite"), tmp_path) is None


def test_a_retry_removes_lost_stages_alone(tmp_path):
    for stage in ("backbone", "classification-100pct"):
        (tmp_path / stage).mkdir()
    record_failure(tmp_path, "classification-100pct", TrainingDiverged("at step 1"))
    clear_failed_stages(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["backbone"]
    clear_failed_stages(tmp_path)


def test_failures_are_listed_by_seed_then_stage():
    stages = [{}, {"b": {"kind": "diverged"}, "a": {"kind": "collapsed"}}]
    assert list_failures(stages) == [
        {"seed": 1, "stage": "a", "kind": "collapsed"},
        {"seed": 1, "stage": "b", "kind": "diverged"},
    ]
