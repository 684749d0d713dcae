from pathlib import Path

import numpy as np
import pytest

from medprior.cohort import Cohort, CohortWriter
from medprior.finetune.settings import FinetuneSettings

TINY = {
    "epochs": 3, "batch": 8, "size": 32, "source_size": 40, "drop_path": 0.1, "device": "cpu",
    "channels": 8,
    "network": {"width": 24, "depth": 2, "heads": 3, "patch": 8, "registers": 1, "image_size": 32},
}  # fmt: skip


def tiny(**changes):
    return FinetuneSettings.load(None, [], **(TINY | changes))


def scene(seed, rows=48, cols=40):
    """A bright disc on a noisy ground; it is large or small, and lies left or right."""
    rng = np.random.default_rng(seed)
    large, right = rng.random(2) < 0.5
    radius = (11 if large else 6) + rng.uniform(-0.5, 0.5)
    centre = np.array([rng.uniform(18, 30), (29 if right else 11) + rng.uniform(-1, 1)])
    y, x = np.indices((rows, cols))
    disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    pixels = 0.3 + 0.4 * disc + rng.normal(0, 0.03, (rows, cols))
    return np.clip(pixels, 0, 1).astype(np.float32), disc, float(large), float(right)


def make_cohort(path: Path, count=60, per_patient=2, labels=True, masks=True) -> Cohort:
    with CohortWriter(path) as writer:
        for i in range(count):
            pixels, disc, large, right = scene(i)
            values = {"large": large, "right": right if i % 5 else float("nan")}
            writer.add(
                image_id=f"i{i:03d}", pixels=pixels, patient_id=f"p{i // per_patient}",
                labels=values if labels else {},
                masks={"heart": disc} if masks and i % 4 else {},
            )  # fmt: skip
        writer.finish()
    return Cohort.open(path)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("finetune") / "cohort")
