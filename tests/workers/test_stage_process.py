"""Stages in processes of their own, and their refusals."""

import pytest

from medprior.errors import MedpriorError
from medprior.workers import stage_process
from medprior.workers.stage_process import run_stage_command


def test_a_stage_runs_to_its_end(tmp_path):
    run_stage_command(
        ["phantom", str(tmp_path / "out"), "--patients", "1", "--seed", "3", "--no-tracking"], "the phantom"
    )
    assert any((tmp_path / "out").iterdir())


def test_a_refusal_is_told_by_its_last_line_and_a_bug_is_not(tmp_path):
    with pytest.raises(MedpriorError, match=r"suggestion: medprior predict: .*absent"):
        run_stage_command(["predict", str(tmp_path / "absent"), "-o", str(tmp_path / "out")], "suggestion")


def test_a_stage_that_hangs_is_ended(monkeypatch, tmp_path):
    monkeypatch.setattr(stage_process, "STAGE_TIMEOUT_SECONDS", 0.01)
    with pytest.raises(MedpriorError, match="longer than"):
        run_stage_command(["--help"], "help")
