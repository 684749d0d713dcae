"""Differences between the primary result and its baselines, by the keys of their metrics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medprior.metrics.bootstrap import Estimate

Estimates = dict[str, Estimate]
HEALTH_KEYS = ("teacher_entropy", "uniform_entropy", "mean_entropy", "feature_std")
COST_KEYS = ("step_seconds", "train_seconds", "peak_memory_mib", "peak_gpu_memory_mib")
LOWER_IS_BETTER = ("ece", "hd95_mm", "hd95_percent", "mae", "spatial_entropy", *COST_KEYS)
ATTENTION_KINDS = ("attention", "finetuned_attention")


def add_baseline_differences(primary: Estimates, baselines: Mapping[str, Estimates]) -> Estimates:
    """Plain keys, `baseline.<name>.<key>`, and `difference.<name>.<key>` = primary - baseline.

    Every estimate must come from the same resamples, so that differences are paired.
    """
    result = dict(primary)
    for name, estimates in baselines.items():
        for key, estimate in estimates.items():
            result[f"baseline.{name}.{key}"] = estimate
            if key in primary and is_comparable_key(key):
                result[f"difference.{name}.{key}"] = primary[key] - estimate
    return result


def is_comparable_key(key: str) -> bool:
    """Whether a difference is meaningful.

    False for oracle scores, random-weight features, teacher-health values, CTR bias and limits, and run counts.
    """
    excluded = ("oracle", "random_", *HEALTH_KEYS, "cardiothoracic.bias", "limit_", "runs.")
    return not any(word in key for word in excluded)


def compute_prior_differences(estimates: Estimates) -> Estimates:
    """Attention minus each prior as predictor, under `difference.<prior>.attention.*`."""
    result = {}
    for prior in ("prior", "registered_prior"):
        for key, estimate in estimates.items():
            kind, _, metric = key.partition(".")
            other = estimates.get(f"{prior}.{metric}")
            if kind in ATTENTION_KINDS and other is not None:
                result[f"difference.{prior}.{key}"] = estimate - other
    return result


def compute_random_init_differences(estimates: Estimates) -> Estimates:
    """Frozen features minus those of random weights, under `difference.random_weights.features.*`."""
    result = {}
    for key, estimate in estimates.items():
        kind, _, metric = key.partition(".")
        other = estimates.get(f"features.random_{metric}")
        if kind == "features" and other is not None:
            result[f"difference.random_weights.{key}"] = estimate - other
    return result


def compare_spatial_entropies(primary: Estimates, baselines: Mapping[str, Estimates]) -> Estimates:
    """`relative_difference.<name>.<key>` = primary / baseline - 1, of spatial entropies.

    -0.2 means that the primary entropy is lower by 20 %. Every estimate must come from the same
    resamples; where a baseline's entropy is 0 the ratio is NaN.
    """
    return {
        f"relative_difference.{name}.{key}": estimate.relative_difference(estimates[key])
        for name, estimates in baselines.items()
        for key, estimate in primary.items()
        if key.endswith(".spatial_entropy") and key in estimates
    }


def describe_difference(value: float | None, low: float | None, high: float | None, key: str) -> str:
    """A difference in words: "better", "worse", "no difference shown" or "not measured"."""
    if value is None or low is None or high is None or not np.isfinite([value, low, high]).all():
        return "not measured"
    if low <= 0 <= high:
        return "no difference shown"
    lower_better = any(part in LOWER_IS_BETTER for part in key.split("."))
    return "better" if (value > 0) != lower_better else "worse"
