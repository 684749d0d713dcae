"""Calibration of probabilities: reliability diagram and expected calibration error (ECE)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medprior.metrics.auc import Array, Floats, safe_divide
from medprior.metrics.bootstrap import Estimate, Resamples

PROBABILITY_EPSILON = 1e-6


@dataclass(frozen=True)
class ReliabilityDiagram:
    """A reliability diagram of one label.

    Shape:
        predicted, observed: float64 [bins], mean probability and share of positives, NaN if empty.
        count: intp [bins], images per bin of equal width.
    """

    predicted: Array
    observed: Array
    count: NDArray[np.intp]


def assign_bins(truth: Floats, probability: Floats, bins: int) -> NDArray[np.intp]:
    """Index of each image's bin, of `bins` equal bins of [0, 1]; -1 where the truth is unknown."""
    index = np.minimum((np.asarray(probability, np.float64) * bins).astype(np.intp), bins - 1)
    return np.where(np.isnan(truth), -1, index)


def compute_reliability(truth: Floats, probability: Floats, bins: int = 15) -> ReliabilityDiagram:
    """The diagram of `truth` [n] in {0, 1, NaN} and `probability` [n] of a positive."""
    index = assign_bins(truth, probability, bins)
    known = index >= 0
    count = np.bincount(index[known], minlength=bins)
    size = count.astype(np.float64)
    weight = np.asarray(probability, np.float64)[known]
    predicted = np.bincount(index[known], weight, minlength=bins).astype(np.float64)
    observed = np.bincount(index[known], truth[known], minlength=bins).astype(np.float64)
    return ReliabilityDiagram(safe_divide(predicted, size), safe_divide(observed, size), count)


def compute_ece(truth: Floats, probability: Floats, bins: int = 15) -> float:
    """ECE of one label: |mean probability - share of positives| averaged over bins by their size.

    Naeini et al., AAAI 2015, for one binary label. NaN without a known image.
    """
    diagram = compute_reliability(truth, probability, bins)
    gap = np.abs(np.nan_to_num(diagram.predicted - diagram.observed))
    total = diagram.count.sum()
    return float((gap * diagram.count).sum() / total) if total else float("nan")


def estimate_ece(truth: Floats, probability: Floats, draws: Resamples, bins: int = 15) -> Estimate:
    """ECE of one label with its resamples.

    Resampling adds noise to every bin and so biases the error upwards; the difference between the
    mean of the samples and the value is subtracted from the samples (our choice), never below 0.
    """
    index = assign_bins(truth, probability, bins)
    gap = np.nan_to_num(np.asarray(probability, np.float64) - truth)
    total = draws.weighted_sums(np.where(index >= 0, 0, -1), 1)[0]
    samples = safe_divide(np.abs(draws.weighted_sums(index, bins, gap)).sum(axis=0), total)
    value = compute_ece(truth, probability, bins)
    known = samples[~np.isnan(samples)]
    bias = float(known.mean()) - value if len(known) else 0.0
    return Estimate(value, np.maximum(samples - bias, 0), int((index >= 0).sum()))


def compute_logit(probability: Floats) -> Array:
    """log(p / (1 - p)), with p kept 1e-6 away from 0 and 1."""
    p = np.clip(np.asarray(probability, np.float64), PROBABILITY_EPSILON, 1 - PROBABILITY_EPSILON)
    return np.log(p) - np.log1p(-p)
