"""Tiny inputs of every bundle: what the stages before it leave, at sizes of seconds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from monai.bundle.workflows import ConfigWorkflow

from medprior.cohort import Cohort
from medprior.finetune import Finetuning

BUNDLES = Path(__file__).parents[2] / "bundles"
NAMES = sorted(path.parent.parent.name for path in BUNDLES.glob("*/configs/metadata.json"))
BASES = ("train.json", "inference.json")


def configs(name: str) -> list[tuple[str, ...]]:
    """The lists of config files that a bundle is started with."""
    there = {path.name for path in (BUNDLES / name / "configs").glob("*.json")}
    first = next(base for base in BASES if base in there)
    overrides = sorted(there - {"metadata.json", *BASES})
    return [(base,) for base in BASES if base in there] + [(first, file) for file in overrides]


CONFIGS = [(name, files) for name in NAMES for files in configs(name)]
VIEWS = {
    "settings#crops#global_size": 32,
    "settings#crops#local_size": 16,
    "settings#crops#locals": 1,
}
TINY_PRETRAINING: dict[str, Any] = {
    "recipe": "dino", "epochs": 2, "batch": 8, "device": "cpu",
    "settings#window": 1, "settings#network#width": 24, "settings#network#depth": 2, **VIEWS,
    "settings#dino#prototypes": 16, "settings#dino#hidden": 16, "settings#dino#bottleneck": 8,
}  # fmt: skip
TINY_FINETUNING: dict[str, Any] = {
    "epochs": 1, "batch": 8, "device": "cpu", "settings#size": 32,
    "settings#network": {"width": 24, "depth": 1},
}  # fmt: skip


def config_files(name: str, files: tuple[str, ...]) -> list[str]:
    return [str(BUNDLES / name / "configs" / file) for file in files]


def metadata(name: str) -> dict[str, Any]:
    return json.loads((BUNDLES / name / "configs/metadata.json").read_text())


def workflow(name: str, *files: str, **overrides: Any) -> ConfigWorkflow:
    kind = "train" if files[0] == "train.json" else "infer"
    paths = config_files(name, files)
    return ConfigWorkflow(paths, workflow_type=kind, logging_file=False, **overrides)


def run(name: str, *files: str, **overrides: Any) -> ConfigWorkflow:
    """What `python -m monai.bundle run` does."""
    bundle = workflow(name, *files, **overrides)
    bundle.initialize()
    bundle.run()
    bundle.finalize()
    return bundle


@pytest.fixture(autouse=True)
def _own_excepthook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.fixture(scope="session")
def models(phantom_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model folder of each task, trained for one epoch."""
    folder = tmp_path_factory.mktemp("models")
    settings = {"size": 32, "epochs": 1, "network": {"width": 24, "depth": 1}, "device": "cpu"}
    for task in ("classification", "segmentation"):
        cohort = Cohort.open(phantom_cohort)
        Finetuning(cohort, folder / task, task, settings=settings).run()
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="session")
def pictures(phantom_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three radiographs and one file that is none."""
    from medprior.phantom import PhantomSettings, generate_phantom_cohort

    folder = tmp_path_factory.mktemp("pictures")
    generate_phantom_cohort(folder, 3, 5, PhantomSettings.from_values({"size": 128}), workers=1)
    (folder / "dicom" / "note.txt").write_text("no radiograph")
    return folder
