"""A synthetic thorax of ellipses: body, two lungs, heart; pose and heart size vary."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medprior.annotate import Annotation, annotate_from_cohort
from medprior.cohort import Cohort, CohortWriter
from medprior.phantom import render_phantom
from medprior.priors import build_prior
from tests.ellipses import fill_ellipse

SIZE = 128


def ellipse(x, y, rx, ry):
    """An ellipse by shares of the side, across before down."""
    return fill_ellipse((SIZE, SIZE), (y * SIZE, x * SIZE), (ry * SIZE, rx * SIZE))


def thorax(seed):
    """float32 [128, 128] and masks; seed 0 stands upright in the middle."""
    rng = np.random.default_rng([7, seed])
    strength = 0.0 if seed == 0 else 1.0
    x, y = 0.5 + strength * rng.uniform(-0.05, 0.05, 2)
    wide, high = 1 + strength * rng.uniform(-0.15, 0.15, 2)
    fat = 1 + strength * rng.uniform(-0.2, 0.3)
    heart = ellipse(x + 0.03 * wide, y + 0.13 * high, 0.13 * fat * wide, 0.13 * high)
    left = ellipse(x + 0.19 * wide, y, 0.13 * wide, 0.27 * high) & ~heart
    right = ellipse(x - 0.19 * wide, y, 0.14 * wide, 0.26 * high) & ~heart
    body = ellipse(x, y + 0.1, 0.42 * wide, 0.5 * high)
    picture = 0.1 + 0.5 * body - 0.25 * (left | right) + 0.2 * heart
    picture += 0.15 * ellipse(x, y, 0.05, 0.6)
    ribs = 0.05 * np.sin(2 * np.pi * (np.arange(SIZE) / SIZE - y) / (0.07 * high))[:, None]
    picture = ndimage.gaussian_filter(picture + ribs * (left | right), 1)
    picture = (picture + 0.02 * rng.standard_normal(picture.shape)) * rng.uniform(0.7, 1.1)
    masks = {"left_lung": left, "right_lung": right, "heart": heart}
    return np.clip(picture, 0, 1).astype(np.float32), masks


def noise(seed=5):
    return np.random.default_rng(seed).random((SIZE, SIZE), dtype=np.float32)


def write_cohort(path, count=20, with_noise=True, with_masks=True):
    with CohortWriter(path) as writer:
        for seed in range(count):
            pixels, masks = thorax(seed)
            writer.add(
                image_id=f"t{seed:03d}", pixels=pixels, patient_id=f"p{seed}",
                masks=masks if with_masks else {},
            )  # fmt: skip
        if with_noise:
            writer.add(image_id="noise", pixels=noise(), patient_id="noise")
        names = [f"t{seed:03d}" for seed in range(count)]
        split = {name: ("test" if i % 4 == 3 else "train") for i, name in enumerate(names)}
        writer.finish(split=split | {"noise": "val"})
    return Cohort.open(path)


@pytest.fixture(scope="session")
def thoraxes(tmp_path_factory) -> Cohort:
    """20 thoraxes with masks and one picture of noise; do not write into it."""
    return write_cohort(tmp_path_factory.mktemp("thoraxes") / "cohort")


@pytest.fixture(scope="session")
def drawing(thoraxes) -> Annotation:
    """The annotation of thorax 0."""
    return annotate_from_cohort(thoraxes, "t000")


@pytest.fixture(scope="session")
def phantoms():
    """120 phantom radiographs, float32 [120, 96, 96]."""
    return np.stack([render_phantom(seed, size=96).pixels for seed in range(120)]).astype(np.float32)


@pytest.fixture(scope="session")
def registered(thoraxes, drawing, tmp_path_factory):
    """The registered prior of all thoraxes and its folder."""
    out = tmp_path_factory.mktemp("registered") / "prior"
    return build_prior(thoraxes, out, drawing, workers=1), out
