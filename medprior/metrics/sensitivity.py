"""Sensitivity and specificity at a threshold, with Wilson intervals over patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from medprior.metrics.auc import Floats


@dataclass(frozen=True)
class Rate:
    """A share of images (sensitivity or specificity) with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def compute_wilson_rate(hits: NDArray[np.bool_], patients: NDArray[np.intp], level: float = 0.95) -> Rate:
    """The share of True with Wilson's interval, widened where a patient has several images.

    The effective number of images is p(1 - p) over the variance of p between patients (Rao and
    Scott, Biometrics 48, 1992), at most the true number. Unlike the bootstrap interval it is valid
    at rates of 0 and 1.

    Shape:
        hits bool [n]; patients [n].
    """
    n = len(hits)
    if not n:
        return Rate(np.nan, np.nan, np.nan, 0)
    p = float(hits.mean())
    _, patient = np.unique(patients, return_inverse=True)
    residual = np.bincount(patient.ravel(), hits - p)
    groups = len(residual)
    variance = groups / max(groups - 1, 1) * float((residual**2).sum()) / n**2
    effective = min(float(n), p * (1 - p) / variance) if variance > 0 else float(n)
    z2 = float(norm.ppf((1 + level) / 2)) ** 2
    centre = (p + z2 / (2 * effective)) / (1 + z2 / effective)
    half = np.sqrt(z2 * (p * (1 - p) / effective + z2 / (4 * effective**2))) / (1 + z2 / effective)
    # Rounding may leave the interval just short of a rate of 0 or 1.
    return Rate(p, min(p, max(0.0, float(centre - half))), max(p, min(1.0, float(centre + half))), n)


def compute_sensitivity_specificity(
    truth: Floats, score: Floats, threshold: float, patients: NDArray[np.intp]
) -> tuple[Rate, Rate]:
    """Both rates of calling an image positive when its score is at least `threshold`.

    Shape:
        truth [n] in {0, 1, NaN}, score [n], patients intp [n].
    """
    predicted = score >= threshold
    positive, negative = truth == 1, truth == 0
    sensitivity = compute_wilson_rate(predicted[positive], patients[positive])
    return sensitivity, compute_wilson_rate(~predicted[negative], patients[negative])
