"""Classification metrics: mAUC, mAP, ECE, and sensitivity and specificity at a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medprior.errors import InputMissing
from medprior.metrics.auc import Array, Floats, count_positives_negatives
from medprior.metrics.bootstrap import (
    Estimate,
    Resamples,
    average_estimates,
    estimate_auc_and_ap,
    estimate_mean,
)
from medprior.metrics.calibration import estimate_ece
from medprior.metrics.delong import run_delong_test
from medprior.metrics.sensitivity import Rate, compute_sensitivity_specificity

METRIC_PREFIX = "classification"


def validate_binary_labels(truth: Floats, labels: Sequence[str]) -> Floats:
    """`truth` [n, C] if all of it is 0, 1 or NaN.

    Raises:
        InputMissing: names the labels with other values.
    """
    invalid = ~(np.isnan(truth) | (truth == 0) | (truth == 1))
    if invalid.any():
        names = ", ".join(labels[int(i)] for i in np.flatnonzero(invalid.any(axis=0)))
        raise InputMissing(
            "labels that are neither 0, 1 nor unknown cannot be ranked",
            where=names,
            expected="0, 1 or empty",
            found=f"{float(truth[invalid][0]):g}",
            fix="set an uncertainty rule in the data manifest and ingest again",
        )
    return truth


def estimate_classification(
    truth: Floats,
    probability: Floats,
    labels: Sequence[str],
    thresholds: Floats,
    draws: Resamples,
    bins: int,
) -> dict[str, Estimate]:
    """All classification metrics of one model.

    Shape:
        truth [n, C] in {0, 1, NaN}, probability [n, C] in [0, 1], thresholds [C].

    Returns:
        `classification.mauc`, `.map`, `.ece`, `.sensitivity`, `.specificity` (means over labels,
        with `per_class`), and `classification.<auc|ap|ece|sensitivity|specificity>.<label>`.
    """
    aucs, precisions = estimate_auc_and_ap(truth, probability, draws)
    columns = list(zip(truth.T, probability.T, strict=True))
    per_label = {
        "auc": aucs,
        "ap": precisions,
        "ece": [estimate_ece(t, p, draws, bins) for t, p in columns],
    }
    rates = [estimate_threshold_rates(t, p, x, draws) for (t, p), x in zip(columns, thresholds, strict=True)]
    per_label["sensitivity"] = [pair[0] for pair in rates]
    per_label["specificity"] = [pair[1] for pair in rates]
    positives, negatives = count_positives_negatives(truth)
    sizes = [{"positives": int(p), "negatives": int(q)} for p, q in zip(positives, negatives, strict=True)]
    result: dict[str, Estimate] = {}
    for metric, estimates in per_label.items():
        name = {"auc": "mauc", "ap": "map"}.get(metric, metric)
        result[f"{METRIC_PREFIX}.{name}"] = average_over_labels(estimates, labels, sizes, len(truth))
        result |= {f"{METRIC_PREFIX}.{metric}.{label}": e for label, e in zip(labels, estimates, strict=True)}
    return result


def average_over_labels(
    estimates: Sequence[Estimate], labels: Sequence[str], sizes: Sequence[dict[str, int]], n: int
) -> Estimate:
    """Mean over the labels with both classes, with all labels under `per_class`."""
    per_class: dict[str, Any] = {
        label: estimate.record() | size for label, estimate, size in zip(labels, estimates, sizes, strict=True)
    }
    has_both = [size["positives"] > 0 and size["negatives"] > 0 for size in sizes]
    absent = [label for label, defined in zip(labels, has_both, strict=True) if not defined]
    used = [estimate for estimate, defined in zip(estimates, has_both, strict=True) if defined]
    facts = {"per_class": per_class, "classes": len(used), "absent": absent}
    if not used:
        return Estimate(np.nan, np.full(len(estimates[0].samples), np.nan), n, facts)
    return average_estimates(used, n, **facts)


def estimate_threshold_rates(
    truth: Floats, probability: Floats, threshold: float, draws: Resamples
) -> tuple[Estimate, Estimate]:
    """Sensitivity and specificity at a threshold chosen on other data, NaN without one."""
    if np.isnan(threshold):
        undefined = Estimate(np.nan, draws.mean(np.full(len(truth), np.nan)), 0)
        return undefined, undefined
    rates = compute_sensitivity_specificity(truth, probability, threshold, draws.patient)
    predicted = probability >= threshold
    hits = (
        np.where(truth == 1, predicted, np.nan).astype(np.float64),
        np.where(truth == 0, ~predicted, np.nan).astype(np.float64),
    )
    sensitivity, specificity = (
        convert_rate_to_estimate(rate, values, draws, threshold) for rate, values in zip(rates, hits, strict=True)
    )
    return sensitivity, specificity


def convert_rate_to_estimate(rate: Rate, hits: Array, draws: Resamples, threshold: float) -> Estimate:
    """A rate with Wilson's interval, and resamples for means over labels and for differences."""
    samples = estimate_mean(hits, draws).samples
    bounds = (rate.low, rate.high)
    return Estimate(rate.value, samples, rate.n, {"threshold": float(threshold)}, bounds)


def compute_delong_p(truth: Floats, a: Floats, b: Floats) -> dict[str, float]:
    """`{"delong_p"}` of two models on one label, or nothing where the test is undefined."""
    p = run_delong_test(truth, a, b).p
    return {} if np.isnan(p) else {"delong_p": p}
