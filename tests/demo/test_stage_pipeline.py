"""Finished stages are not run again, unless one before them was."""

import json
import shutil

from medprior.demo.stage_pipeline import StagePipeline, format_overrides


def walk(folder, capsys):
    """Run two small stages; the number of skipped ones."""
    pipeline = StagePipeline(folder)
    for title in ("first", "second"):
        out = folder / title
        argv = (out, "--patients", 1, "--size", 64, "--workers", 1, "--no-tracking")
        pipeline.run_stage(title, "phantom", *argv, result=out / "config.json")
    return capsys.readouterr().out.count("done before")


def test_a_stage_runs_again_after_one_that_ran(tmp_path, capsys):
    assert walk(tmp_path, capsys) == 0
    assert walk(tmp_path, capsys) == 2
    shutil.rmtree(tmp_path / "second")
    assert walk(tmp_path, capsys) == 1
    shutil.rmtree(tmp_path / "first")
    assert walk(tmp_path, capsys) == 0


def test_other_arguments_run_a_stage_again(tmp_path, capsys):
    for workers, skipped in ((1, 0), (1, 1), (2, 0)):
        argv = (tmp_path / "out", "--patients", 1, "--size", 64, "--workers", workers, "--no-tracking")
        pipeline = StagePipeline(tmp_path)
        pipeline.run_stage("first", "phantom", *argv, result=tmp_path / "out" / "config.json")
        assert capsys.readouterr().out.count("done before") == skipped
    assert json.loads((tmp_path / "row.json").read_text())["first"]["argv"][:2] == ["phantom", str(tmp_path / "out")]


def test_the_cost_is_in_minutes_over_all_stages(tmp_path):
    records = {"a": {"argv": [], "seconds": 60.0}, "b": {"argv": [], "seconds": 30.0}}
    assert StagePipeline(tmp_path, records).format_cost().startswith("1.5 minutes of stages; peak memory ")


def test_each_override_is_an_option_of_its_own():
    assert format_overrides(("a=1", "b.c=[2, 3]")) == ["--set", "a=1", "--set", "b.c=[2, 3]"]
