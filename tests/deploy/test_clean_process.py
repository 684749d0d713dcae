"""A process that knows only the store's address and a DICOM file answers as the training code."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from medprior.deploy import register_model
from medprior.dicom import read_image
from medprior.finetune.model import load_finetuned_model


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
