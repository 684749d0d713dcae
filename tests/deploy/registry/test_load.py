"""Models from folders and from the registry, here and in a clean process."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import medprior
from medprior.deploy import load_model, register_model
from medprior.deploy.inference.predictor import Predictor
from medprior.deploy.registry.load import load_package
from medprior.dicom import read_image
from medprior.errors import InputMissing, MedpriorError
from medprior.finetune.model import load_finetuned_model
from tests.deploy.registry.stored import find_stored_version, run_in_clean_process


def test_wrong_places_are_refused(classifier, segmenter, tmp_path):
    with pytest.raises(MedpriorError, match="no such model"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(MedpriorError, match="no finished result"):
        load_model(tmp_path)
    with pytest.raises(MedpriorError, match="two models of task"):
        load_model(classifier, segmenter=classifier)


def digests(masks) -> dict[str, str]:
    return {name: hashlib.sha256(mask.tobytes()).hexdigest() for name, mask in masks.items()}


def test_bit_for_bit(empty_store, classifier, segmenter, dicom, tmp_path):
    """One thread on one machine: findings are equal to the last bit, masks to the last pixel."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    register_model(classifier, "cxr", segmenter=segmenter, tracking_uri=uri)
    code = """
        import hashlib, json, sys
        import torch
        from medprior.deploy import load_model
        torch.set_num_threads(1)
        reading = load_model("models:/cxr@champion").predict(sys.argv[1])
        masks = {k: hashlib.sha256(m.tobytes()).hexdigest() for k, m in reading.masks.items()}
        print(json.dumps({"findings": {k: v.hex() for k, v in reading.findings.items()},
                          "masks": masks, "pixels": reading.pixel_sha256}))
    """
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(empty), "MLFLOW_TRACKING_URI": uri,
        "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(tmp_path),
    }  # fmt: skip
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(dicom)],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    radiograph = read_image(dicom)
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        findings = load_finetuned_model(classifier).predict_pixels(radiograph.pixels).probabilities
        masks = load_finetuned_model(segmenter).predict_pixels(radiograph.pixels).masks
    finally:
        torch.set_num_threads(threads)
    assert said["findings"] == {name: value.hex() for name, value in findings.items()}
    assert said["masks"] == digests(masks)
    assert said["pixels"] == radiograph.pixel_sha256
    assert not list(empty.iterdir()), "it left something behind"


def test_the_package_imports_from_anywhere(tmp_path: Path):
    code = "import medprior.deploy; print(medprior.deploy.load_model.__name__)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert answer.stdout == "load_model\n", answer.stderr


def test_a_clean_process_reads_the_same(registry, classifier, segmenter, dicom, tmp_path):
    here = load_model(classifier, segmenter=segmenter).predict(dicom).record()
    code = """
        import json, sys
        from pathlib import Path
        from medprior.deploy import load_model
        reading = load_model("models:/cxr@champion").predict(Path(sys.argv[1]))
        print(json.dumps(reading.record()))
    """
    text = run_in_clean_process(code, tmp_path, str(dicom), MLFLOW_TRACKING_URI=registry)
    assert json.loads(text) == json.loads(json.dumps(here))
    assert not list(tmp_path.iterdir())


def test_a_damaged_copy_in_the_registry_is_refused(tracking_uri, classifier):
    register_model(classifier, "cxr", tracking_uri=tracking_uri)
    path = find_stored_version(tracking_uri) / "artifacts" / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(MedpriorError, match="differ from the digest"):
        load_model("models:/cxr@champion", tracking_uri)


def test_a_given_segmenter_takes_the_place_of_the_packaged_one(classifier, segmenter, tmp_path):
    ignored = shutil.ignore_patterns("checkpoints")
    shutil.copytree(classifier, tmp_path / "package" / "model", ignore=ignored)
    assert load_package(tmp_path / "package").models.keys() == {"classification"}
    shutil.copytree(segmenter, tmp_path / "package" / "segmenter", ignore=ignored)
    assert load_package(tmp_path / "package").models.keys() == {"classification", "segmentation"}
    own = Path(shutil.copytree(segmenter, tmp_path / "own", ignore=ignored))
    (own / "config.json").write_text((own / "config.json").read_text() + " ")
    assert load_package(tmp_path / "package", own).digest == Predictor.load(classifier, own).digest
    assert load_package(tmp_path / "package", own).digest != load_package(tmp_path / "package").digest


def test_without_a_name_the_anatomy_model_is_loaded(segmenter, tmp_path, monkeypatch):
    model = Path(shutil.copytree(segmenter, tmp_path / "model", ignore=shutil.ignore_patterns("checkpoints")))
    monkeypatch.setenv("MEDPRIOR_MODEL", str(model))
    assert load_model().digest == load_model(segmenter).digest
    with pytest.raises(InputMissing, match="a segmenter stands beside a classification model"):
        load_model(segmenter=segmenter)
    config = json.loads((model / "config.json").read_text())
    config["settings"]["resolution"] = 7
    config["versions"]["medprior"] = "9.0.0"
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputMissing) as caught:
        load_model()
    assert "the anatomy model cannot be used: a model of another version of medprior" in str(caught.value)
    assert f"expected {medprior.__version__}, found 9.0.0; reinstall medprior" in str(caught.value)
    with pytest.raises(InputMissing, match=r"found 9\.0\.0; install that version, or run `medprior finetune` again"):
        load_model(model)
    config["versions"]["medprior"] = medprior.__version__
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(MedpriorError, match="unknown key 'resolution'"):
        load_model(model)
