"""`medprior evaluate` from the command line."""

import argparse
import json

import pytest

from medprior.cli import main
from medprior.cohort import Cohort
from medprior.evaluate import command
from medprior.evaluate.localisation.finding_maps import NO_ATTENTION
from medprior.provenance import read_config
from tests.evaluate.planted import write_planted


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


def test_other_cohorts_boxes_and_a_cnn_from_the_command_line(tmp_path, planted_away, planted_models):
    home = str(write_planted(tmp_path / "cohort", with_masks=False))
    cnn, out, boxes = tmp_path / "cnn", tmp_path / "evidence", tmp_path / "boxes.csv"
    command = ["finetune", home, str(cnn), "--task", "classification"]
    command += ["--set", "architecture=test_resnet", "--set", "size=64", "--set", "epochs=1"]
    assert main([*command, "--no-tracking"]) == 0
    test = Cohort.open(home).split("test")
    sick = [test.image_ids[n] for n in (test.labels(["spot"])[:, 0] == 1).nonzero()[0]]
    rows = [f"{image_id},spot,0,0,32,64" for image_id in sick]
    boxes.write_text("\n".join(["image_id,label,x,y,width,height", *rows]) + "\n")
    command = ["evaluate", home, str(out), "--no-tracking"]
    command += ["--model", f"vit={planted_models['pooled']}", "--model", f"cnn={cnn}"]
    command += ["--external", f"away={planted_away}", "--boxes", str(boxes)]
    command += ["--set", "resamples=20", "--set", "map_size=32", "--set", "box_units=pixels"]
    assert main(command) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    for name in ("", "baseline.cnn."):
        assert metrics[f"{name}classification.auc.spot"]["value"] is not None
    assert metrics["external.away.classification.auc.spot"]["n"] == 60
    # the left half of a picture, given as pixels, is half of a flat map's mass
    flat = metrics["localisation.uniform.energy.spot"]
    assert (flat["n"], flat["value"]) == (len(sick), pytest.approx(0.5, abs=0.02))
    skipped = " ".join(read_config(out)["skipped"])
    assert f"cnn: {NO_ATTENTION}" in skipped
    assert "cnn" in (out / "report.html").read_text()


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
    assert command.result_folder(args).name == "e"
    assert args.backbone == ["a", "b"]


def test_a_device_that_is_not_here_is_refused_before_anything_is_written(cohort_path, span_path, tmp_path, capsys):
    out = tmp_path / "evidence"
    arguments = ["evaluate", str(cohort_path), str(out), "--no-tracking", "--backbone", str(span_path)]
    assert main([*arguments, "--set", "probe=false", "--device", "cuda:99"]) == 2
    assert "no such device here" in capsys.readouterr().err
    assert not (out / "metrics.json").exists()
