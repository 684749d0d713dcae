"""`medprior register`, then `medprior predict` by alias."""

import shutil

import pandas as pd
import pytest

from medprior.cli import main
from medprior.finetune.model import load_finetuned_model as load_finetuned


def test_the_command_line_from_model_to_answer(tracking_uri, classifier, segmenter, dicom, tmp_path, capsys):
    arguments = ["register", str(classifier), "cxr", "--segmenter", str(segmenter)]
    assert main(arguments) == 0
    assert "models:/cxr@challenger" in capsys.readouterr().out
    assert main(["predict", str(dicom), "-o", str(tmp_path / "none"), "--model", "models:/cxr@champion"]) == 2
    assert "no such alias" in capsys.readouterr().err
    assert main([*arguments, "--alias", "champion"]) == 0
    assert "models:/cxr@champion" in capsys.readouterr().out
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(dicom, folder / "DOE.dcm")
    (folder / "broken.dcm").write_bytes(dicom.read_bytes()[:2000])
    predict = [
        "predict",
        str(folder),
        "-o",
        str(tmp_path / "out"),
        "--model",
        "models:/cxr@champion",
    ]
    assert main(predict) == 0
    assert "1 read, 1 rejected" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "report.csv")
    row = table[table.status == "ok"].iloc[0]
    model = load_finetuned(classifier)
    from medprior.dicom import read_image

    want = model.predict_pixels(read_image(dicom).pixels).probabilities
    assert {name: row[name] for name in want} == pytest.approx(want, abs=1e-6)
    masks = sorted(path.name.split("_", 2)[2] for path in (tmp_path / "out").glob("*_lung.png"))
    assert masks == ["left_lung.png", "right_lung.png"]
    assert main(predict) == 0
    assert "2 answered before" in capsys.readouterr().out
