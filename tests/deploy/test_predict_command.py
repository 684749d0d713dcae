"""`medprior predict` from the command line."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medprior.cli import main


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("models:/cxr@champion", "no such registered model"),
        ("models:/cxr", "not a model"),
        ("nowhere", "no such model"),
    ],
)
def test_wrong_models_are_one_line_and_status_2(model, words, tracking_uri, dicom, tmp_path, capsys):
    arguments = ["predict", str(dicom), "-o", str(tmp_path / "out"), "--model", model]
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--tracking-uri", "http://127.0.0.1:1"]) == 2


@pytest.fixture
def source_folder(dicom, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    shutil.copy(dicom, source / "a.dcm")
    noise = np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)
    Image.fromarray(noise).save(source / "b.png")
    return source


def test_the_command_flags_or_refuses(source_folder, classifier, old_model, tmp_path, capsys):
    base = ["predict", str(source_folder), "--model", str(classifier), "-o"]
    assert main([*base, str(tmp_path / "flagged")]) == 0
    table = pd.read_csv(tmp_path / "flagged" / "report.csv")
    assert table.status.tolist() == ["ok", "ok"]
    assert ["far_from_training" in str(flags) for flags in table["flags"]] == [False, True]
    assert table.familiarity_score[1] > table.familiarity_score[0]
    assert main([*base, str(tmp_path / "refused"), "--refuse-unfamiliar"]) == 0
    table = pd.read_csv(tmp_path / "refused" / "report.csv")
    assert table.status.tolist() == ["ok", "rejected"]
    assert table.code[1] == "far_from_training"
    capsys.readouterr()
    assert main([*base, str(tmp_path / "flagged"), "--refuse-unfamiliar"]) == 2
    assert "without --refuse-unfamiliar" in capsys.readouterr().err
    words = ["predict", str(source_folder), "--model", str(old_model), "-o", str(tmp_path / "old_out")]
    assert main([*words, "--refuse-unfamiliar"]) == 2
    assert "no model has a familiarity score" in capsys.readouterr().err


def test_the_anatomy_model_is_used_where_none_is_named(dicom, segmenter, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MEDPRIOR_MODEL", str(segmenter))
    assert main(["predict", str(dicom), "--output", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob("*_heart.png"))) == 1
    monkeypatch.setenv("MEDPRIOR_MODEL", str(tmp_path / "absent"))
    assert main(["predict", str(dicom), "-o", str(tmp_path / "other")]) == 2
    assert main(["serve", "--port", "0"]) == 2
    assert capsys.readouterr().err.count("MEDPRIOR_MODEL: no such model folder") == 2


def test_what_holds_no_radiograph_is_refused_in_one_line_and_reported(segmenter, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.txt").write_text("dear radiologist")
    (source / "b.csv").write_text("id,label")
    (source / "c.dcm").write_bytes(b"PK\x03\x04" + bytes(200))
    command = ["predict", str(source), "--model", str(segmenter), "-o", str(tmp_path / "out")]
    for _ in range(2):  # the second run finds the refusals of the first
        assert main(command) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert "no radiograph to predict on" in line
        assert "3 files: the content is not DICOM: the file is a text file (2 of 3 files)" in line
    assert len(pd.read_csv(tmp_path / "out/report.csv")) == 3
    command = ["predict", str(source / "c.dcm"), "--model", str(segmenter), "-o", str(tmp_path / "one")]
    assert main(command) == 2
    assert "found 1 file: the content is not DICOM: the file is a ZIP archive" in capsys.readouterr().err


def test_the_device_is_named_and_must_exist(source_folder, classifier, tmp_path, capsys):
    base = ["predict", str(source_folder), "--model", str(classifier), "-o", str(tmp_path / "out"), "--device"]
    assert main([*base, "cuda:99"]) == 2
    assert "no such device here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*base, "cpu"]) == 0
    assert pd.read_csv(tmp_path / "out" / "report.csv").status.tolist() == ["ok", "ok"]
