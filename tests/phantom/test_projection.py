"""The physics: Beer-Lambert, scatter and noise against closed forms and counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medprior.phantom.organs import MaterialLayers
from medprior.phantom.projection import (
    MU_BONE_PER_MM,
    MU_LUNG_PER_MM,
    MU_SOFT_PER_MM,
    Exposure,
    apply_detector_curve,
    apply_vendor_processing,
    apply_wide_blur,
    compute_line_integral,
    sample_exposure,
    simulate_detector,
)

CLEAN = Exposure(1e12, 0.0, 0.01, 0.0, 0.0, 0.05, 0.95)
SHAPE = (40, 50)


def full(value):
    return np.full(SHAPE, value, np.float32)


def layers(body=0.0, lung=0.0, gas=0.0, bone=0.0, dense=0.0):
    return MaterialLayers(full(body), full(lung), full(gas), full(bone), full(dense))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ({"body": 100}, 100 * MU_SOFT_PER_MM),
        ({"body": 100, "lung": 60}, 40 * MU_SOFT_PER_MM + 60 * MU_LUNG_PER_MM),
        ({"body": 100, "lung": 60, "dense": 60}, 100 * MU_SOFT_PER_MM),
        ({"body": 100, "lung": 60, "dense": 90}, 100 * MU_SOFT_PER_MM),
        ({"body": 100, "gas": 30}, 70 * MU_SOFT_PER_MM),
        ({"body": 100, "bone": 10}, 90 * MU_SOFT_PER_MM + 10 * MU_BONE_PER_MM),
        ({"body": 10, "lung": 60}, 10 * MU_LUNG_PER_MM),
    ],
)
def test_exponent_is_the_sum_over_materials(path, expected):
    assert compute_line_integral(layers(**path), full(1.0)) == pytest.approx(expected, rel=1e-5)


def test_without_scatter_and_noise_the_detector_sees_beer_lambert():
    exponent = compute_line_integral(layers(body=120, lung=50), full(1.0))
    signal = simulate_detector(exponent, CLEAN, 0.7, np.random.default_rng(0))
    assert signal == pytest.approx(exponent, abs=1e-3)


def test_scatter_lowers_contrast():
    exponent = full(1.0)
    exponent[:, 25:] = 3.0
    steps = []
    for scatter in (0.0, 0.5):
        exposure = replace(CLEAN, scatter=scatter)
        signal = simulate_detector(exponent, exposure, 5.0, np.random.default_rng(0))
        steps.append(signal[:, 28].mean() - signal[:, 22].mean())
    assert steps[1] < 0.8 * steps[0]


def test_noise_falls_with_the_root_of_the_photons():
    noise = []
    for photons in (1e4, 1e6):
        exposure = replace(CLEAN, photons=photons, blur_mm=0.001)
        signal = simulate_detector(full(1.0), exposure, 1.0, np.random.default_rng(0))
        noise.append(signal.std())
    expected = 1 / np.sqrt(1e4 * np.exp(-1.0))
    assert noise[0] == pytest.approx(expected, rel=0.1)
    assert noise[0] / noise[1] == pytest.approx(10, rel=0.15)


def test_curve_rises_and_stays_in_range():
    value = apply_detector_curve(np.linspace(0.0, 1.0, 200).astype(np.float32))
    assert (np.diff(value) > 0).all()
    assert value[0] == pytest.approx(0, abs=1e-6)
    assert value[-1] == pytest.approx(1, abs=1e-6)


def test_developed_body_lies_in_the_middle_of_the_range():
    rng = np.random.default_rng(1)
    signal = (2.0 + rng.random(SHAPE)).astype(np.float32)
    shown = apply_vendor_processing(signal, np.ones(SHAPE, bool), CLEAN, 5.0)
    assert np.quantile(shown, 0.05) > 0.2
    assert np.quantile(shown, 0.95) < 0.82
    assert np.corrcoef(shown.ravel(), signal.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("sigma", [1.0, 4.0, 13.0])
def test_spread_keeps_the_mean_and_flattens(sigma):
    image = np.random.default_rng(0).random((97, 120)).astype(np.float32)
    blurred = apply_wide_blur(image, sigma)
    assert blurred.shape == image.shape
    assert blurred.mean() == pytest.approx(image.mean(), abs=0.02)
    assert blurred.std() < 0.5 * image.std()


def test_portable_images_have_fewer_photons_and_more_scatter():
    upright, portable = ([sample_exposure(kind, np.random.default_rng(s)) for s in range(60)] for kind in (False, True))
    assert np.median([e.photons for e in portable]) == pytest.approx(6e4, rel=0.2)
    assert np.median([e.photons for e in upright]) == pytest.approx(1.6e5, rel=0.2)
    assert np.mean([e.scatter for e in portable]) == pytest.approx(0.55, abs=0.04)
    assert np.mean([e.scatter for e in upright]) == pytest.approx(0.25, abs=0.04)
    assert all(0.1 <= e.scatter <= 0.8 and e.low < 0.1 < 0.9 < e.high for e in (*upright, *portable))


def test_the_quantiles_of_the_body_are_mapped_to_fixed_levels():
    signal = np.linspace(1.0, 3.0, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    body = np.zeros(SHAPE, bool)
    body[10:30] = True
    shown = apply_vendor_processing(signal, body, replace(CLEAN, low=0.1, high=0.9), 5.0)
    lowest, highest = np.quantile(shown[body], [0.1, 0.9])
    levels = apply_detector_curve(np.array([0.28, 0.74], np.float32))
    assert [lowest, highest] == pytest.approx(levels.tolist(), abs=0.01)
