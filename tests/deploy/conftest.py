"""Small trained models and one DICOM file, shared by the tests of deploy."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from medprior.deploy import register_model
from medprior.deploy.inference.example import create_example_dicom
from medprior.provenance import sha256_file
from tests.deploy.discs import changed, disc_cohort, good_model, weak_model
from tests.deploy.tiny_models import train
from tests.orthanc import OrthancServer

VERSIONS = ("weak", "good", "broken", "sharp", "sized", "again")
"""Versions 1 to 6 of the filled store, each under an alias of its name."""


@pytest.fixture(scope="session")
def classifier(phantom_cohort: Path, tmp_path_factory) -> Path:
    return train(phantom_cohort, tmp_path_factory.mktemp("classifier") / "model", "classification")


@pytest.fixture(scope="session")
def other_classifier(phantom_cohort: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("other") / "model"
    return train(phantom_cohort, out, "classification", epochs=1, seed=5)


@pytest.fixture(scope="session")
def segmenter(phantom_cohort: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("segmenter") / "model"
    return train(phantom_cohort, out, "segmentation", epochs=12, lr=3e-3)


@pytest.fixture(scope="session")
def dicom(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("dicom") / "one.dcm"
    path.write_bytes(create_example_dicom(seed=1001, side=256))
    return path


@pytest.fixture(scope="session")
def discs(tmp_path_factory) -> Path:
    """A cohort of 200 patients whose finding is a brighter disc; do not write into it."""
    return disc_cohort(tmp_path_factory.mktemp("discs") / "cohort")


@pytest.fixture(scope="session")
def disc_models(discs, tmp_path_factory) -> dict[str, Path]:
    """Models of the disc cohort: good, weak, and copies of the good one with a fault each."""
    folder = tmp_path_factory.mktemp("models")
    weak = weak_model(discs, folder / "weak")
    good = good_model(discs, folder / "good")
    return {
        "weak": weak,
        "good": good,
        "broken": changed(good, folder / "broken", scale=1e25),
        "sharp": changed(good, folder / "sharp", sharpen=0.1),
        "sized": weak_model(discs, folder / "sized", size=48, source_size=64),
        "again": changed(good, folder / "again", sharpen=1.01),
    }


@pytest.fixture(scope="session")
def filled_store(empty_store, disc_models, tmp_path_factory) -> Path:
    """A store with every model as a version and no champion."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(empty_store, folder / "mlflow.db")
    for number, name in enumerate(VERSIONS, start=1):
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        assert register_model(disc_models[name], "cxr", alias=name, tracking_uri=uri) == str(number)
    return folder / "mlflow.db"


@pytest.fixture
def filled_uri(filled_store, tmp_path, monkeypatch) -> str:
    """A copy of the filled store in the test's own folder, which becomes the current one."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(filled_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def old_model(classifier, tmp_path):
    """A model as it was written before familiarity."""
    folder = tmp_path / "old"
    folder.mkdir()
    tensors = load_file(classifier / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.startswith("familiarity.")}
    assert len(kept) < len(tensors)
    save_file(kept, folder / "model.safetensors")
    config = json.loads((classifier / "config.json").read_text())
    del config["familiarity"]
    config["outputs"] = {"model.safetensors": sha256_file(folder / "model.safetensors")}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def archive(tmp_path):
    """A running archive without images."""
    with OrthancServer(tmp_path / "archive") as server:
        yield server
