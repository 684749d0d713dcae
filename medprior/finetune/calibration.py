"""Temperature scaling, calibrated probabilities and Youden thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def has_both_classes(truth: NDArray[Any]) -> bool:
    """Whether truth [n] (0, 1, uncertain in between, NaN unknown) has an exact 0 and an exact 1."""
    return bool((truth == 0).any() and (truth == 1).any())


def fit_temperature(logits: NDArray[Any], truth: NDArray[Any]) -> float:
    """The T > 0 that maximises the likelihood of sigmoid(logits / T) (Guo et al., ICML 2017).

    A unit normal prior on log T (our choice) keeps T away from 0 where few validation images are
    ranked perfectly.

    Args:
        logits: [n].
        truth: [n] in [0, 1], NaN unknown.

    Returns:
        T in [0.05, 20]; 1 when a class is absent.
    """
    from scipy.optimize import minimize_scalar  # prediction needs only `compute_probabilities`

    known = ~np.isnan(truth)
    if not has_both_classes(truth[known]):
        return 1.0
    z, y = logits[known].astype(np.float64), truth[known].astype(np.float64)

    def negative_log_posterior(log_t: float) -> float:
        """Negative log-likelihood of one temperature plus the prior term."""
        scaled = z * np.exp(-log_t)
        return float(np.sum(np.logaddexp(0, scaled) - y * scaled) + log_t**2 / 2)

    optimum = minimize_scalar(negative_log_posterior, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(optimum.x))


def compute_probabilities(logits: NDArray[Any], temperatures: NDArray[Any]) -> NDArray[np.float32]:
    """Calibrated probabilities float32 [n, C] of logits [n, C] and temperatures [C]."""
    from scipy.special import expit  # half a second of imports, which segmentation does not need

    return np.asarray(expit(logits / temperatures), dtype=np.float32)


def compute_youden_threshold(probability: NDArray[Any], truth: NDArray[Any]) -> float:
    """The threshold with the largest sensitivity + specificity (Youden 1950).

    The threshold lies midway between the two scores that it separates.

    Args:
        probability: [n] in [0, 1]; an image is positive at or above the threshold.
        truth: [n], 0 or 1; other values are ignored.

    Returns:
        A threshold in [0, 1]; 0.5 when a class is absent.
    """
    from sklearn.metrics import roc_curve

    certain = np.isin(truth, (0, 1))
    scores, classes = probability[certain].astype(np.float64), truth[certain]
    if not has_both_classes(classes):
        return 0.5
    # The first point of the curve, above all scores, is no better than the last, below all.
    false_positive, true_positive, thresholds = (v[1:] for v in roc_curve(classes, scores, drop_intermediate=False))
    best = float(thresholds[np.argmax(true_positive - false_positive)])
    below = scores[scores < best]
    return (best + float(below.max())) / 2 if below.size else best / 2
