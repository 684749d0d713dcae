"""A small cohort of rendered phantoms, shared by the rooms' tests."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from medprior.cohort import CohortWriter
from medprior.phantom import render_phantom

STRUCTURES = ("left_lung", "right_lung", "heart")


def phantom_cohort_at(path: Path, patients: int, size: int = 128) -> Path:
    """A finished cohort of one phantom per patient."""
    with CohortWriter(path, store_size=size) as writer:
        for seed in range(patients):
            image = render_phantom(seed, size=size)
            facts = {k: image.facts[k] for k in ("view", "sex", "age")}
            writer.add(
                image_id=f"p{seed:04d}",
                pixels=image.pixels,
                patient_id=f"patient{seed:04d}",
                labels={k: v for k, v in image.labels.items() if not math.isnan(v)},
                masks={name: image.masks[name] for name in STRUCTURES},
                dataset="phantom",
                **facts,
            )
        writer.finish(fractions=(0.6, 0.2, 0.2), seed=1)
    return path


@pytest.fixture(scope="session")
def phantom_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 phantoms of 48 patients at 128 px, split 60 / 20 / 20; do not write into it."""
    return phantom_cohort_at(tmp_path_factory.mktemp("phantom") / "cohort", 48)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A migrated MLflow database: making one costs seconds."""
    from medprior.tracking import mlflow_store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow_store.connect_to_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def tracking_uri(empty_store: Path, tmp_path: Path, monkeypatch) -> str:
    """A copy of the empty store in the test's own folder, which becomes the current one."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
