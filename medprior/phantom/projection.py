"""Simulates the detector signal from millimetres of material: attenuation, scatter, noise, processing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from medprior.phantom.organs import MaterialLayers

Array = NDArray[np.float32]

# Linear attenuation near the mean energy of a 110 kV chest beam, 1/mm (rounded, our choice).
MU_SOFT_PER_MM = 0.0190
MU_LUNG_PER_MM = 0.0052
MU_BONE_PER_MM = 0.0460


@dataclass(frozen=True)
class Exposure:
    """Exposure and processing of one image.

    Attributes:
        photons: counted per pixel without a patient.
        scatter: scattered over primary radiation behind the patient.
        blur_mm: deviation of the detector's point spread.
        equalise: share of the slow brightness changes that processing takes out.
        sharpen: how much processing adds of the detail finer than a rib.
        low, high: quantiles of the body's signal that processing maps to 0.28 and 0.74.
    """

    photons: float
    scatter: float
    blur_mm: float
    equalise: float
    sharpen: float
    low: float
    high: float


def sample_exposure(portable: bool, rng: np.random.Generator) -> Exposure:
    """Sample an exposure; portable ones have no grid, more scatter and fewer photons (our choice)."""
    return Exposure(
        photons=float(np.exp(rng.normal(np.log(6e4 if portable else 1.6e5), 0.4))),
        scatter=float(np.clip(rng.normal(0.55 if portable else 0.25, 0.08), 0.1, 0.8)),
        blur_mm=float(rng.uniform(0.15, 0.35)),
        equalise=float(rng.uniform(0.15, 0.45)),
        sharpen=float(rng.uniform(0.3, 0.9)),
        low=float(rng.uniform(0.01, 0.06)),
        high=float(rng.uniform(0.93, 0.99)),
    )


def compute_line_integral(layers: MaterialLayers, grain: Array) -> Array:
    """Attenuation exponent along every ray, [rows, cols]; `grain` scales the lung's density."""
    lung = np.minimum(layers.lung, layers.body)
    dense = np.minimum(layers.dense, lung)
    gas = np.minimum(layers.gas, np.maximum(layers.body - lung, 0))
    soft = np.maximum(layers.body - lung - gas, 0) + dense
    exponent = (
        MU_SOFT_PER_MM * soft
        + MU_LUNG_PER_MM * grain * (lung - dense)
        + (MU_BONE_PER_MM - MU_SOFT_PER_MM) * layers.bone
    )
    return np.asarray(exponent, np.float32)


def simulate_detector(exponent: Array, exposure: Exposure, pixel_mm: float, rng: np.random.Generator) -> Array:
    """Negative log of the detected intensity, [rows, cols]: 0 is the open beam.

    Args:
        exponent: attenuation along every ray.
        exposure: of the image.
        pixel_mm: pixel size.
        rng: source of quantum and electronic noise.
    """
    primary = np.exp(-exponent)
    total = primary + exposure.scatter * apply_wide_blur(np.minimum(primary, 0.25), 28.0 / pixel_mm)
    total = gaussian_filter(total, exposure.blur_mm / pixel_mm)
    noise = rng.standard_normal(total.shape, dtype=np.float32)
    scale = np.sqrt(total / exposure.photons + 2e-9)
    return -np.log(np.maximum(total + scale * noise, 1e-4)).astype(np.float32)


def apply_wide_blur(image: Array, sigma: float) -> Array:
    """A wide Gaussian blur, done on a small copy, [rows, cols]."""
    step = max(int(sigma // 3), 1)
    rows, cols = image.shape
    small = image[: rows - rows % step, : cols - cols % step]
    small = small.reshape(rows // step, step, cols // step, step).mean(axis=(1, 3))
    small = gaussian_filter(small, sigma / step, mode="nearest")
    factors = (rows / small.shape[0], cols / small.shape[1])
    return zoom(small, factors, order=1, grid_mode=True, mode="nearest").astype(np.float32)


def apply_vendor_processing(signal: Array, body: NDArray[np.bool_], exposure: Exposure, pixel_mm: float) -> Array:
    """The vendor's processing: even out slow changes, scale to the stored range, [rows, cols].

    Args:
        signal: negative log intensity.
        body: where the patient is, [rows, cols].
        exposure: its `equalise`, `low` and `high` are used.
        pixel_mm: pixel size.

    Returns:
        Values in [0, 1]; most of the patient lies between 0.2 and 0.8.
    """
    slow = apply_wide_blur(np.clip(signal, 1.0, 5.0), 26.0 / pixel_mm)
    even = signal - exposure.equalise * (slow - float(slow[body].mean()))
    even += exposure.sharpen * (signal - apply_wide_blur(signal, 5.0 / pixel_mm))
    low, high = np.quantile(even[body][::7], [exposure.low, exposure.high])
    scaled = (even - low) / max(float(high - low), 1e-3)
    return apply_detector_curve(0.28 + 0.46 * scaled).astype(np.float32)


def apply_detector_curve(value: Array) -> Array:
    """The detector's curve: straight in the middle, soft at both ends, into (0, 1)."""
    return np.asarray(0.5 + 0.5 * np.tanh(2.2 * (value - 0.5)) / np.tanh(1.1), np.float32)
