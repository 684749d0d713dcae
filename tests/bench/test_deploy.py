"""The bench itself, with a small model and few requests."""

import pytest

from medprior.bench import deploy
from medprior.bench.deploy_inputs import create_random_model

SMALL = {"width": 24, "depth": 3, "heads": 3, "patch": 8, "image_size": 64}


@pytest.mark.slow
def test_load_and_single_image(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(deploy, "GOOD_SIDE_PX", 256)
    monkeypatch.setattr(deploy, "SINGLE_REPEATS", 2)
    classifier = str(create_random_model(tmp_path / "c", "classification", SMALL))
    segmenter = str(create_random_model(tmp_path / "s", "segmentation", SMALL))
    models = ["--model", classifier, "--segmenter", segmenter]
    assert deploy.run_load_test(models, 84)
    printed = capsys.readouterr().out
    assert "wrong: none" in printed
    assert "ended with status 0" in printed
    for name, content in deploy.create_good_files(256, ("uncompressed", "jpeg_2000")).items():
        (tmp_path / name).write_bytes(content)
    deploy.print_single_image(models, tmp_path, "findings and masks")
    assert "peak memory" in capsys.readouterr().out
