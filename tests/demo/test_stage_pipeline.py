"""Finished stages are not run again, unless one before them was."""

import shutil

from medprior.demo.stage_pipeline import StagePipeline


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
