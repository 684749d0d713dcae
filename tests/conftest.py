"""A small cohort of rendered phantoms, shared by the rooms' tests."""

from __future__ import annotations

import math
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medprior.cohort import CohortWriter
from medprior.phantom import render_phantom
from tests.shuffled_order import shuffle_by_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRUCTURES = ("left_lung", "right_lung", "heart")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--shuffle SEED` runs the tests in random order."""
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run test files, and the tests of each, at random")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle the tests where it is asked for."""
    seed = config.getoption("--shuffle")
    if seed is not None:
        items[:] = shuffle_by_file(items, lambda item: str(item.path), seed)


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


@pytest.fixture(autouse=True)
def keep_threads_and_seeds() -> Iterator[None]:
    """A test leaves the number of torch's threads and all random states as it found them."""
    torch = sys.modules.get("torch")
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch_state = (torch.get_num_threads(), torch.get_rng_state()) if torch else None
    yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
    if torch and torch_state:
        torch.set_num_threads(torch_state[0])
        torch.set_rng_state(torch_state[1])


@pytest.fixture
def saved_figures() -> Iterator[list[Figure]]:
    """Every figure that the test saves, in order."""
    from tests.saved_figures import keep_saved_figures

    with keep_saved_figures() as saved:
        yield saved


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
