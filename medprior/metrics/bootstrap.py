"""Patient-level bootstrap: patients are sampled with all their images, and scores are sorted once.

A resample is how often each patient is sampled. A metric that is a function of weighted sums per
bin (levels of a ranking, bins of a reliability diagram, one bin for a mean) is then one sparse
product. Two estimates of the same `Resamples` are paired: their difference keeps the pairing.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from medprior.metrics import auc
from medprior.metrics.auc import Array, Floats, ScoreRanks

RESAMPLES_PER_BLOCK = 32  # resamples computed at once, so that they fit the cache


@dataclass(frozen=True)
class Resamples:
    """R samples of P patients with replacement.

    Shape:
        patient: intp [n], the patient of each image.
        blocks: float32 [P, r] each, how often a patient is sampled; r sums up to R.
    """

    patient: NDArray[np.intp]
    blocks: tuple[NDArray[np.float32], ...]

    @classmethod
    def draw(cls, patient_ids: Sequence[str] | NDArray[Any], resamples: int, seed: int) -> Resamples:
        """`resamples` samples of the patients of n images, the same for the same seed."""
        patients, patient = np.unique(np.asarray(patient_ids), return_inverse=True)
        rng, size, blocks = np.random.default_rng([seed, 8]), len(patients), []
        for start in range(0, resamples, RESAMPLES_PER_BLOCK):
            width = min(RESAMPLES_PER_BLOCK, resamples - start)
            cells = rng.integers(size, size=(width, size)) * width + np.arange(width)[:, None]
            counts = np.bincount(cells.ravel(), minlength=size * width)
            blocks.append(counts.reshape(size, width).astype(np.float32))
        return cls(patient.astype(np.intp).ravel(), tuple(blocks))

    def build_bin_by_patient_matrix(self, bins: NDArray[np.intp], size: int, values: Floats | None = None) -> Any:
        """The sparse [size, P] matrix that turns patient counts into sums per bin (-1: no bin)."""
        known = bins >= 0
        data = np.ones(known.sum(), np.float32) if values is None else values[known]
        coordinates = (bins[known], self.patient[known])
        matrix = sparse.coo_array((data, coordinates), shape=(size, len(self.blocks[0])))
        return matrix.tocsr()

    def weighted_sums(self, bins: NDArray[np.intp], size: int, values: Floats | None = None) -> Array:
        """Weighted sums of `values` [n] (default 1) per bin: float64 [size, R]."""
        matrix = self.build_bin_by_patient_matrix(bins, size, values)
        products = [np.asarray(matrix @ block, np.float64) for block in self.blocks]
        return np.concatenate(products, axis=1)

    def mean(self, values: Floats) -> Array:
        """The mean of `values` [n] over images where they are known (not NaN): float64 [R]."""
        bins = np.where(np.isnan(values), -1, 0)
        total = self.weighted_sums(bins, 1, np.asarray(values, np.float64))
        result: Array = auc.safe_divide(total, self.weighted_sums(bins, 1))[0]
        return result

    def auc_and_ap(self, truth: Floats, score: Floats) -> tuple[Array, Array]:
        """AUC and average precision of one label in every resample: float64 [R] each."""
        ranks = ScoreRanks.of(truth, score)
        positives = self.build_bin_by_patient_matrix(ranks.positive, ranks.levels)
        negatives = self.build_bin_by_patient_matrix(ranks.negative, 2 * ranks.levels + 1)
        aucs, precisions = [], []
        for block in self.blocks:
            weights = (positives @ block).astype(np.float64), (negatives @ block).astype(np.float64)
            aucs.append(auc.compute_weighted_auc(*weights))
            precisions.append(auc.compute_weighted_ap(*weights))
        return np.concatenate(aucs), np.concatenate(precisions)


@dataclass(frozen=True)
class Estimate:
    """A metric with its resamples, its interval and its number of images.

    Args:
        value: the metric on the unresampled data.
        samples: float64 [R], the metric in every resample.
        n: number of images.
        facts: further entries of its record (`per_class`, `head` ...), JSON-able.
        bounds: a 95 % interval by another method than resampling, where there is a better one.
    """

    value: float
    samples: Array
    n: int
    facts: dict[str, Any] = field(default_factory=dict)
    bounds: tuple[float, float] | None = None

    def interval(self) -> tuple[float, float]:
        """95 % interval: `bounds`, or percentiles of the defined resamples; NaN without any."""
        if self.bounds is not None:
            return self.bounds
        known = self.samples[np.isfinite(self.samples)]
        if not len(known):
            return (np.nan, np.nan)
        low, high = np.quantile(known, [0.025, 0.975])
        return (float(low), float(high))

    def __sub__(self, other: Estimate) -> Estimate:
        """The paired difference; both must come from the same `Resamples`."""
        samples = self.samples - other.samples
        return Estimate(self.value - other.value, samples, min(self.n, other.n))

    def relative_difference(self, other: Estimate) -> Estimate:
        """The paired relative difference, self / other - 1; NaN where `other` is not above 0."""
        denominator = np.array([other.value, *other.samples])
        numerator = np.array([self.value, *self.samples])
        ratio = np.full(len(numerator), np.nan)
        np.divide(numerator, denominator, out=ratio, where=denominator > 0)
        return Estimate(float(ratio[0] - 1), ratio[1:] - 1, min(self.n, other.n))

    def record(self) -> dict[str, Any]:
        """`{"value", "ci95", "n"}` and the facts, NaN as None."""
        numbers = [self.value, *self.interval()]
        value, low, high = (number if np.isfinite(number) else None for number in numbers)
        return {"value": value, "ci95": [low, high], "n": self.n, **self.facts}


def estimate_mean(values: Floats, resamples: Resamples, **facts: Any) -> Estimate:
    """The mean of a per-image metric `values` [n]; NaN images are left out and not counted."""
    known = ~np.isnan(values)
    value = float(np.mean(values[known], dtype=np.float64)) if known.any() else np.nan
    return Estimate(value, resamples.mean(values), int(known.sum()), facts)


def average_estimates(estimates: Sequence[Estimate], n: int, **facts: Any) -> Estimate:
    """The unweighted mean of estimates (over labels or structures), without those that are NaN."""
    value = compute_nan_mean(np.array([[e.value] for e in estimates]))[0]
    samples = compute_nan_mean(np.stack([e.samples for e in estimates]))
    return Estimate(float(value), samples, n, facts)


def compute_nan_mean(values: Array) -> Array:
    """Mean over axis 0 of the values that are not NaN; NaN where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=0))


def estimate_auc_and_ap(truth: Floats, score: Floats, resamples: Resamples) -> tuple[list[Estimate], list[Estimate]]:
    """AUC and average precision of every label.

    Shape:
        truth [n, C] in {0, 1, NaN}, score [n, C] finite.

    Returns:
        Two lists of C estimates; a label without both classes has value NaN.
    """
    aucs, precisions = [], []
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # NumPy and SciPy release the GIL
        samples = list(pool.map(resamples.auc_and_ap, truth.T, score.T))
    for t, s, (auc_samples, precision_samples) in zip(truth.T, score.T, samples, strict=True):
        n = int((~np.isnan(t)).sum())
        aucs.append(Estimate(auc.compute_auc(t, s), auc_samples, n))
        precisions.append(Estimate(auc.compute_ap(t, s), precision_samples, n))
    return aucs, precisions


def has_finite_value(record: dict[str, Any]) -> bool:
    """Whether a record has a finite value: a tracker must never take NaN for its best value."""
    return record["value"] is not None and math.isfinite(record["value"])
