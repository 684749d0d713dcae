import argparse
import json

import pytest

from medprior.cli import main
from medprior.evaluate import bench, bench_command, command


def test_evaluate_from_the_command_line(tmp_path, capsys, cohort_path, span_path, dino_path):
    out = tmp_path / "evidence"
    arguments = ["evaluate", str(cohort_path), str(out), "--no-tracking"]
    arguments += ["--backbone", f"SPAN={span_path}", "--backbone", f"DINO={dino_path}"]
    arguments += ["--set", "resamples=20", "--set", "map_size=32", "--set", "probe=false"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    metrics = json.loads((out / "metrics.json").read_text())
    assert f"{metrics['attention.pixel_ap.mean']['value']:.3f}" in printed
    assert "SPAN vs DINO" in printed
    assert str(out / "report.html") in printed
    assert "difference.DINO.attention.pixel_ap.mean" in metrics


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ([], "nothing to evaluate"),
        (["--backbone", "nowhere"], "no finished result"),
        (["--model", "a=nowhere"], "no finished result"),
        (["--set", "resample=3"], "unknown key 'resample'"),
    ],
)
def test_refusals_are_one_line_and_exit_2(tmp_path, capsys, cohort_path, extra, text):
    assert main(["evaluate", str(cohort_path), str(tmp_path / "e"), "--no-tracking", *extra]) == 2
    error = capsys.readouterr().err.strip()
    assert text in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "e" / "config.json").exists()


def test_result_is_the_evidence_folder():
    parser = argparse.ArgumentParser()
    command.configure(parser)
    args = parser.parse_args(["c", "e", "--backbone", "a", "--backbone", "b", "--split", "val"])
    assert command.result(args).name == "e"
    assert args.backbone == ["a", "b"]


def test_bench_refuses_an_unknown_room(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "kitchen"])
    assert stop.value.code == 2
    assert "evaluate" in bench_command.ROOMS


def test_bench_hands_on_what_a_room_takes(capsys):
    assert main(["bench", "evaluate", "cohort"]) == 2
    assert "takes no arguments" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["bench", "prior", "cohort", "--split", "nowhere"])
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.slow
def test_bench_is_faster_than_scikit_learn(capsys):
    bench.main()
    lines = capsys.readouterr().out.splitlines()
    assert "medprior" in lines[1]
    assert float(lines[-1].split()[-2]) > 10
