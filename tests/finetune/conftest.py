"""A small cohort of discs, settings of runs that take a second, and models trained with them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medprior.cohort import Cohort, CohortWriter
from medprior.finetune import finetune_model
from medprior.finetune.settings import FinetuneSettings
from medprior.networks import ViTSettings, build_encoder
from medprior.networks.heads import Classifier

TINY = {
    "epochs": 3, "batch": 8, "size": 32, "source_size": 40, "drop_path": 0.1, "device": "cpu",
    "channels": 8,
    "network": {"width": 24, "depth": 2, "heads": 3, "patch": 8, "registers": 1, "image_size": 32},
}  # fmt: skip
CNNS = {"classification": "test_resnet", "segmentation": "unet"}
CNN_VIEWS = {"size": 64, "source_size": 64, "checkpoint_every": 1}


def tiny(**changes):
    """Settings of a small transformer on 32-pixel views, with `changes`."""
    return FinetuneSettings.load(None, [], **(TINY | changes))


def cnn(task, **changes):
    """Settings of a small CNN for `task` on 64-pixel views, with `changes`."""
    return tiny(task=task, architecture=CNNS[task], **(CNN_VIEWS | changes))


def build_classifier(kind="cls"):
    """A classifier of two labels with six attention heads and random weights, views of 64 pixels."""
    torch.manual_seed(0)
    shape = {"width": 24, "depth": 2, "heads": 6, "patch": 8, "registers": 1, "image_size": 64}
    return Classifier(build_encoder(ViTSettings.from_values(shape)), 2, kind)


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
    """A cohort of `count` scenes; every fifth lacks the label `right`, every fourth the mask."""
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


def write_cohort(path: Path, splits, labels=None, masks=None, pixels=None) -> Cohort:
    """A cohort of one 16 x 16 image per id of `splits` (id -> split), one patient each.

    `labels`, `masks` and `pixels` give the values of an image by its id; without pixels it is flat.
    """
    with CohortWriter(path) as writer:
        for number, image_id in enumerate(splits):
            flat = np.full((16, 16), (number + 1) / 100, np.float32)
            writer.add(
                image_id=image_id, pixels=(pixels or {}).get(image_id, flat), patient_id=f"patient {image_id}",
                labels=(labels or {}).get(image_id, {}), masks=(masks or {}).get(image_id, {}),
            )  # fmt: skip
        writer.finish(splits)
    return Cohort.open(path)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("finetune") / "cohort")


@pytest.fixture(scope="session")
def vit_folders(cohort, tmp_path_factory) -> Path:
    """Model folders `classification` and `segmentation` of the small transformer."""
    base = tmp_path_factory.mktemp("models")
    for task in ("classification", "segmentation"):
        finetune_model(cohort, base / task, task, settings=tiny(epochs=2))
    return base


@pytest.fixture(scope="session")
def cnn_folders(cohort, tmp_path_factory) -> Path:
    """Model folders `classification` and `segmentation` of the small CNNs, trained on one thread."""
    base = tmp_path_factory.mktemp("cnns")
    torch.set_num_threads(1)
    for task in CNNS:
        finetune_model(cohort, base / task, task, settings=cnn(task, epochs=2))
    return base
