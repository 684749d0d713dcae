"""Temperatures and thresholds, chosen on validation images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.metrics import roc_curve

Array = NDArray[np.float64]


def has_both_classes(truth: NDArray[Any]) -> bool:
    """Whether truth [n] (0, 1, uncertain in between, NaN unknown) has a sure 0 and a sure 1."""
    return bool((truth == 0).any() and (truth == 1).any())


def fit_temperature(logits: NDArray[Any], truth: NDArray[Any]) -> float:
    """The T > 0 that makes sigmoid(logits / T) most likely (Guo et al., ICML 2017), held near 1.

    A unit normal prior on log T (our choice) keeps a perfect ranking of few validation images from
    driving T to 0.

    Args:
        logits: [n].
        truth: [n] in [0, 1], NaN unknown.

    Returns:
        T in [0.05, 20]; 1 when a class is absent.
    """
    known = ~np.isnan(truth)
    if not has_both_classes(truth[known]):
        return 1.0
    z, y = logits[known].astype(np.float64), truth[known].astype(np.float64)

    def cost(log_t: float) -> float:
        """Penalised negative log-likelihood at one temperature."""
        scaled = z * np.exp(-log_t)
        return float(np.sum(np.logaddexp(0, scaled) - y * scaled) + log_t**2 / 2)

    found = minimize_scalar(cost, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def compute_probabilities(logits: NDArray[Any], temperatures: NDArray[Any]) -> NDArray[np.float32]:
    """Calibrated probabilities float32 [n, C] of logits [n, C] and temperatures [C]."""
    return np.asarray(expit(logits / temperatures), dtype=np.float32)


def compute_youden_threshold(probability: NDArray[Any], truth: NDArray[Any]) -> float:
    """The threshold with the largest sensitivity + specificity (Youden 1950).

    Midway between the two scores that it separates, so that it does not hang on one image.

    Args:
        probability: [n] in [0, 1]; an image is called positive at or above the threshold.
        truth: [n], 0 or 1; anything else is left out.

    Returns:
        A threshold in [0, 1]; 0.5 when a class is absent.
    """
    certain = np.isin(truth, (0, 1))
    score, wanted = probability[certain].astype(np.float64), truth[certain]
    if not has_both_classes(wanted):
        return 0.5
    false, true, cuts = roc_curve(wanted, score, drop_intermediate=False)
    best = float(min(cuts[np.argmax(true - false)], score.max()))
    below = score[score < best]
    return (best + float(below.max())) / 2 if below.size else best / 2
