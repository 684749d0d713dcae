"""Runs that stop themselves: real collapses, recorded, not repeated, counted."""

import json

import numpy as np
import pytest

from medprior.cli import main
from medprior.errors import Collapsed, Diverged, TrainingFailed
from medprior.evaluate.compare.compare import compare
from medprior.evaluate.compare.failed_runs import in_words, lost_backbone, lost_stages, note_lost
from tests.evaluate.comparing import COLLAPSING, small


def test_only_what_says_something_of_the_arm_is_recorded(tmp_path):
    note_lost(tmp_path, "backbone", Collapsed("collapsed: entropy is 0.99 at step 12", fix="x"))
    note_lost(tmp_path, "classification-10pct", Diverged("the loss was not finite"))
    found = lost_stages(tmp_path)
    assert found["backbone"]["kind"] == "collapsed"
    assert found["backbone"]["step"] == 12
    assert found["classification-10pct"] == {
        "kind": "diverged", "reason": "the loss was not finite", "step": None,
    }  # fmt: skip
    full = TrainingFailed("a checkpoint cannot be written (No space left on device)")
    with pytest.raises(TrainingFailed, match="No space"):
        note_lost(tmp_path, "backbone", full)
    assert lost_stages(tmp_path) == found


def test_who_shares_a_lost_backbone_is_lost_too(tmp_path):
    (tmp_path / "b").mkdir()
    assert not lost_backbone(tmp_path / "b", tmp_path / "a")
    note_lost(tmp_path / "a", "backbone", Collapsed("collapsed at step 7"))
    assert lost_backbone(tmp_path / "b", tmp_path / "a")
    assert lost_stages(tmp_path / "b") == lost_stages(tmp_path / "a")


def test_words_count_what_was_lost():
    rows = [{"stage": "backbone", "kind": "collapsed"}, {"stage": "seg-1pct", "kind": "diverged"}]
    assert in_words({"of": 3, "failures": rows}) == "1 of 3 collapsed, 1 of 3 diverged in seg-1pct"
    assert in_words({"of": 3}) == ""
    assert in_words(None) == ""


def test_a_collapsed_arm_is_a_row_and_a_lost_seed_leaves_the_mean(
    tmp_path, cohort_path, monkeypatch
):
    settings = small(arms={"hot": COLLAPSING})
    lost = tmp_path / "runs" / "dino-1"
    note_lost(lost, "backbone", Collapsed("collapsed: entropy is 0.99 at step 3"))
    found = compare(cohort_path, tmp_path, ["dino", "hot"], settings=settings)
    assert len(found["attention.pixel_ap.mean"]["seeds"]) == 1
    assert found["runs.lost"]["value"] == 1
    assert found["baseline.hot.runs.done"]["value"] == 0
    failures = found["baseline.hot.runs.lost"]["failures"]
    assert [(row["seed"], row["kind"]) for row in failures] == [(0, "collapsed"), (1, "collapsed")]
    assert all(2 <= row["step"] <= 4 and "of ln K" in row["reason"] for row in failures)
    assert not any("difference.hot." in key for key in found)
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    assert rows[0].startswith("| dino (1 of 2 collapsed) | ")
    assert rows[1].startswith("| hot (2 of 2 collapsed; no run left) | - |")

    def again(*_):
        raise AssertionError("a lost run was repeated")

    monkeypatch.setattr("medprior.evaluate.compare.run.pretrain", again)
    assert compare(cohort_path, tmp_path, ["dino", "hot"], settings=settings) == found
    monkeypatch.undo()
    both = compare(cohort_path, tmp_path, ["dino", "hot"], settings=settings, retry=True)
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
    assert "no run of the first arm is left: 1 of 1 collapsed" in capsys.readouterr().err
    metrics = json.loads((out / "metrics.json").read_text())
    assert np.isfinite(metrics["baseline.dino.attention.pixel_ap.mean"]["value"])
    assert "hot (1 of 1 collapsed; no run left)" in (out / "table.md").read_text()
    assert (out / "report.html").is_file()
    assert not (out / "config.json").exists()
