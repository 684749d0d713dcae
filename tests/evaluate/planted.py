"""A cohort of planted findings, a bright spot and a dark hole; a classifier that knows them."""

import numpy as np

from medprior.cohort import Cohort, CohortWriter
from tests.evaluate.conftest import SMALL

SIDE, PATCH = 64, 16
NAMES = ("spot", "hole")
LEVELS = {"spot": 1.0, "hole": 0.0}


def planted_image(rng, present):
    """Pixels with the findings that are present, and their masks, never on one another."""
    pixels = np.clip(0.6 + rng.normal(scale=0.03, size=(SIDE, SIDE)), 0, 1)
    masks = {}
    halves = rng.permutation(2)
    for half, name in zip(halves, NAMES, strict=True):
        y = 2 * rng.integers((SIDE - PATCH) // 2)
        x = half * SIDE // 2 + 2 * rng.integers((SIDE // 2 - PATCH) // 2)
        if present[name]:
            mask = np.zeros((SIDE, SIDE), bool)
            mask[y : y + PATCH, x : x + PATCH] = True
            pixels[mask] = LEVELS[name]
            masks[name] = mask
    return pixels.astype(np.float32), masks


def write_planted(path, images=200, seed=0, with_masks=True, shift=0):
    """Two images a patient, each finding in half of them; split 50 / 20 / 30."""
    rng = np.random.default_rng(seed)
    with CohortWriter(path, store_size=SIDE) as writer:
        for number in range(images):
            present = {name: bool(rng.random() < 0.5) for name in NAMES}
            pixels, masks = planted_image(rng, present)
            writer.add(
                image_id=f"i{number + shift:03d}",
                pixels=pixels,
                patient_id=f"p{(number + shift) // 2:03d}",
                labels={name: float(here) for name, here in present.items()},
                masks=masks if with_masks else {},
                dataset="planted",
            )
        writer.finish(fractions=(0.5, 0.2, 0.3), seed=seed)
    return path


def write_away(path):
    """Sixty images of strangers, none labelled for `hole`, and forty of the home cohort."""
    home = np.random.default_rng(0)
    away = np.random.default_rng(9)
    with CohortWriter(path, store_size=SIDE) as writer:
        for number in range(260):
            rng = home if number < 200 else away
            present = {name: bool(rng.random() < 0.5) for name in NAMES}
            pixels, _ = planted_image(rng, present)
            if 40 <= number < 200:
                continue
            writer.add(
                image_id=f"a{number:03d}",
                pixels=pixels,
                patient_id=f"q{number // 2:03d}",
                labels={"spot": float(present["spot"]), "elsewhere": 0.0},
                dataset="planted away",
            )
        writer.finish(seed=1)
    return path


def train_planted(cohort_path, out, head="pooled", epochs=24, life=False, seed=0):
    """A small classifier of the planted findings."""
    from medprior.finetune.settings import FinetuneSettings
    from medprior.finetune.training import finetune_model

    settings = FinetuneSettings.from_values(
        {
            "task": "classification", "epochs": epochs, "size": 32, "head": head, "lr": 3e-3,
            "network": SMALL.model_dump() | {"life": life}, "seed": seed,
        }
    )  # fmt: skip
    finetune_model(Cohort.open(cohort_path), out, "classification", settings=settings)
    return out
