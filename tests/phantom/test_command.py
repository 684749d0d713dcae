"""The command line: what it writes, and how it refuses."""

from __future__ import annotations

import pytest

from medprior.cli import main


def test_command_writes_a_cohort(tmp_path):
    out = tmp_path / "out"
    words = ["phantom", str(out), "--patients", "2", "--seed", "1", "--size", "64"]
    assert main([*words, "--workers", "1", "--no-tracking"]) == 0
    assert (out / "labels.csv").is_file()
    assert list(out.glob("dicom/*/*.dcm"))
    assert (out / "config.json").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--patients", "0"], "1 or more, found 0"),
        (["--patients", "2", "--size", "3"], "size"),
        (["--patients", "2", "--seed", "-1"], "--seed"),
        (["--patients", "2", "--workers", "0"], "--workers"),
        (["--patients", "2", "--set", "sise=64"], "unknown key 'sise'"),
        (["--patients", "2", "--set", "prevalence.nodule=3"], "prevalence.nodule"),
    ],
)
def test_bad_request_is_one_line(tmp_path, capsys, words, said):
    assert main(["phantom", str(tmp_path / "out"), "--no-tracking", *words]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out" / "config.json").exists()
