"""The drawn cohort has the measured anatomy: means, deviations and correlations of its masks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medprior.phantom.anatomy import clip_to_image, compute_correlation_cholesky, sample_anatomy, sample_patient
from medprior.phantom.frame import build_thorax_frame
from medprior.phantom.outline import compute_structure_masks
from medprior.phantom.render import render_phantom, sample_image_parameters
from medprior.phantom.settings import PhantomSettings

SIZE = 192
# Landmarks of 383 radiographs: (mean, deviation), boxes in parts of the image or of the lungs' box.
MEASURED = {
    "box_width": (0.782, 0.075),
    "box_height": (0.731, 0.107),
    "centre_x": (0.503, 0.024),
    "centre_y": (0.471, 0.045),
    "right_width": (0.437, 0.027),
    "right_height": (0.971, 0.035),
    "left_width": (0.435, 0.028),
    "left_height": (0.968, 0.042),
    "right_area": (0.256, 0.029),
    "left_area": (0.208, 0.026),
    "heart_width": (0.500, 0.067),
    "heart_height": (0.450, 0.082),
    "heart_x": (0.588, 0.030),
    "heart_y": (0.672, 0.046),
    "heart_area": (0.169, 0.045),
    "heart_over_lungs": (0.375, 0.127),
    "gap": (0.128, 0.022),
    "right_dome": (0.980, 0.033),
    "left_dome": (0.974, 0.040),
}
CORRELATED = {
    ("heart_width", "box_height"): -0.65,
    ("heart_width", "box_width"): -0.43,
    ("heart_width", "heart_height"): 0.64,
    ("right_width", "left_width"): -0.68,
    ("heart_x", "heart_width"): 0.27,
}


def box(mask):
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return cols[0], cols[-1] + 1, rows[0], rows[-1] + 1


def narrowest(right, left):
    both = right.any(axis=1) & left.any(axis=1)
    end = right.shape[1] - np.argmax(right[both][:, ::-1], axis=1)
    return (np.argmax(left[both], axis=1) - end).min()


def measure(masks):
    left, right, heart = masks["left_lung"], masks["right_lung"], masks["heart"]
    x0, x1, y0, y1 = box(left | right)
    width, height = x1 - x0, y1 - y0
    lx0, lx1, ly0, ly1 = box(left)
    rx0, rx1, ry0, ry1 = box(right)
    hx0, hx1, hy0, hy1 = box(heart)
    area = width * height
    return {
        "box_width": width / SIZE,
        "box_height": height / SIZE,
        "centre_x": (x0 + x1) / 2 / SIZE,
        "centre_y": (y0 + y1) / 2 / SIZE,
        "right_width": (rx1 - rx0) / width,
        "right_height": (ry1 - ry0) / height,
        "left_width": (lx1 - lx0) / width,
        "left_height": (ly1 - ly0) / height,
        "right_area": right.sum() / area,
        "left_area": left.sum() / area,
        "heart_width": (hx1 - hx0) / width,
        "heart_height": (hy1 - hy0) / height,
        "heart_x": ((hx0 + hx1) / 2 - x0) / width,
        "heart_y": ((hy0 + hy1) / 2 - y0) / height,
        "heart_area": heart.sum() / area,
        "heart_over_lungs": heart.sum() / (left.sum() + right.sum()),
        "gap": narrowest(right, left) / width,
        "right_dome": (ry1 - y0) / height,
        "left_dome": (ly1 - y0) / height,
    }


@pytest.fixture(scope="module")
def cohort():
    rows = []
    for patient in range(300):
        anatomy = sample_image_parameters((11, patient), 0, PhantomSettings()).anatomy
        frame = build_thorax_frame(anatomy, SIZE, SIZE)
        rows.append(measure(compute_structure_masks(anatomy, frame.u, frame.v)))
    return pd.DataFrame(rows)


@pytest.mark.parametrize("name", MEASURED)
def test_mean_and_deviation_are_as_measured(cohort, name):
    mean, deviation = MEASURED[name]
    assert abs(cohort[name].mean() - mean) < 0.3 * deviation
    assert 0.7 < cohort[name].std() / deviation < 1.25


@pytest.mark.parametrize("pair", CORRELATED, ids="-".join)
def test_correlation_is_as_measured(cohort, pair):
    assert abs(cohort.corr().loc[pair] - CORRELATED[pair]) < 0.12


def test_a_quarter_of_the_hearts_is_large(cohort):
    limit = PhantomSettings().cardiothoracic_limit
    assert 0.17 < (cohort["heart_width"] > limit).mean() < 0.33


def test_root_reproduces_the_correlations():
    matrix = compute_correlation_cholesky() @ compute_correlation_cholesky().T
    assert np.allclose(np.diag(matrix), 1)
    assert np.linalg.eigvalsh(matrix).min() > 0.01


def test_images_of_one_patient_are_alike_and_keep_age_and_sex():
    same, other = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        patient = sample_patient(rng)
        first, second = (sample_anatomy(patient, False, rng) for _ in range(2))
        stranger = sample_anatomy(sample_patient(rng), False, rng)
        assert (first.age, first.male) == (second.age, second.male)
        same.append(abs(first.heart_width - second.heart_width))
        other.append(abs(first.heart_width - stranger.heart_width))
    assert np.mean(same) < 0.6 * np.mean(other)


def test_true_ratio_is_that_of_the_masks():
    for seed in range(6):
        image = render_phantom(seed, SIZE)
        assert abs(measure(image.masks)["heart_width"] - image.facts["ctr"]) < 0.03


def test_portable_images_magnify_the_heart():
    patient = sample_patient(np.random.default_rng(3))
    upright, portable = (sample_anatomy(patient, kind, np.random.default_rng(4)) for kind in (False, True))
    assert portable.heart_width > upright.heart_width


def test_rare_draws_are_pulled_into_the_image():
    plain = {
        "box_width": 0.8, "box_height": 0.7, "centre_x": 0.5, "centre_y": 0.5, "heart_y": 0.7, "heart_height": 0.4,
    }  # fmt: skip
    assert clip_to_image(plain) == plain
    pulled = clip_to_image(plain | {"box_width": 1.2, "centre_x": 0.1, "centre_y": 0.95, "heart_y": 0.9})
    assert pulled["box_width"] == 0.95
    assert pulled["centre_x"] == pytest.approx(0.475 + 0.012)
    assert pulled["centre_y"] == pytest.approx(1 - 0.35 - 0.012)
    assert pulled["heart_y"] == pytest.approx(0.8)
    assert clip_to_image(plain | {"box_height": 1.0, "centre_y": 0.1})["centre_y"] == pytest.approx(0.475 + 0.012)
