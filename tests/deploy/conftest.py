"""Small trained models and one DICOM file, shared by the tests of deploy."""

from pathlib import Path

import pytest

from medprior.cohort import Cohort
from medprior.deploy.inference.example import create_example_dicom
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.training import finetune_model

TINY = {
    "epochs": 2, "batch": 12, "size": 64, "source_size": 80, "device": "cpu", "channels": 8,
    "network": {"width": 24, "depth": 2, "heads": 3, "patch": 8, "registers": 1, "image_size": 64},
}  # fmt: skip


def train(cohort: Path, out: Path, task: str, **changes) -> Path:
    settings = FinetuneSettings.load(None, [], **(TINY | changes))
    return finetune_model(Cohort.open(cohort), out, task, settings=settings)


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
