"""The whole row at its smallest, from DICOM to a prediction out of the registry."""

import json

import pytest

from medprior.cli import main
from medprior.demo.phantom_demo import PhantomDemoSettings, select_dino_settings

SMALL = [
    "patients=24", "image_size=160",
    "pretrain=[steps=8, batch=8, window=4, network.width=24, network.depth=2, "
    "crops.global_size=32, crops.local_size=16, crops.locals=1, dino.prototypes=16]",
    "classification=[epochs=1, freeze=true]", "segmentation=[epochs=1, size=32]", "findings=[epochs=1, freeze=true]",
]  # fmt: skip


@pytest.mark.timeout(900)
def test_row_ends_with_a_prediction_from_the_registry(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MEDPRIOR_IDENTITY_KEY", str(tmp_path / "keys" / "identity.key"))
    argv = ["demo", "row"] + [part for item in SMALL for part in ("--set", item)]
    assert main(argv) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    # One epoch teaches nothing: the gate refuses, and the model is not called champion.
    assert "not champion:" in out
    assert "challenger refused" in out
    assert "models:/medprior-demo@challenger" in out
    assert "models:/medprior-demo@champion" not in out
    (overlay,) = (tmp_path / "row/real_prediction").glob("*_overlay.png")
    assert f"row/real_prediction/{overlay.name}" in out
    assert "deployed model" in out
    assert "registered prior" in out
    metrics = json.loads((tmp_path / "row/evidence/metrics.json").read_text())
    low, high = metrics["attention.pixel_ap.heart"]["ci95"]
    assert 0 <= low <= metrics["attention.pixel_ap.heart"]["value"] <= high <= 1
    assert "prior.pixel_ap.heart" in metrics
    assert main(argv) == 0
    assert capsys.readouterr().out.count("done before") == 15


def test_dino_has_the_budget_of_span_without_its_loss():
    settings = PhantomDemoSettings(pretrain=("steps=3", "span.weight=1.0", "dino.prototypes=8"))
    assert select_dino_settings(settings) == ("steps=3", "dino.prototypes=8")
