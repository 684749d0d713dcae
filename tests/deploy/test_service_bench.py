"""The bench itself, with a small model and few requests."""

import pytest

from medprior.bench import deploy
from medprior.bench.deploy_inputs import random_model

SMALL = {"width": 24, "depth": 3, "heads": 3, "patch": 8, "image_size": 64}


@pytest.mark.slow
def test_load_and_single_image(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(deploy, "GOOD_SIDE", 256)
    monkeypatch.setattr(deploy, "SINGLE", 2)
    classifier = str(random_model(tmp_path / "c", "classification", SMALL))
    segmenter = str(random_model(tmp_path / "s", "segmentation", SMALL))
    models = ["--model", classifier, "--segmenter", segmenter]
    assert deploy.load(models, 84)
    printed = capsys.readouterr().out
    assert "wrong: none" in printed
    assert "ended with status 0" in printed
    for name, content in deploy.good_files(256, ("uncompressed", "jpeg_2000")).items():
        (tmp_path / name).write_bytes(content)
    deploy.alone(models, tmp_path, "findings and masks")
    assert "peak memory" in capsys.readouterr().out
