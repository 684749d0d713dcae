"""Interval of an AUC from its value and the numbers of images alone."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np


def compute_newcombe_auc_interval(
    auc: float, positives: int, negatives: int, level: float = 0.95
) -> tuple[float, float]:
    """Interval of an area under the ROC curve (Newcombe, Stat Med 25:559-573, 2006, method 5).

    The variance of Hanley and McNeil (Radiology 143, 1982) with both class sizes replaced by
    (m + n) / 2 in its second terms, taken at the bound and not at the estimate: the interval has a
    width at an AUC of 0 or 1 too.

    Args:
        auc: in [0, 1].
        positives: m, images with the finding, at least 1.
        negatives: n, images without it, at least 1.
        level: of the interval.

    Returns:
        Lower and upper bound in [0, 1].
    """
    extra, product = (positives + negatives) / 2 - 1, positives * negatives
    z = NormalDist().inv_cdf((1 + level) / 2)

    def standard_error(area: float) -> float:
        """Standard error of an AUC whose true value is `area`."""
        terms = 1 + extra * (1 - area) / (2 - area) + extra * area / (1 + area)
        return float(np.sqrt(area * (1 - area) * terms / product))

    low = bisect_bound(lambda area: auc - area - z * standard_error(area), 0.0, auc)
    high = bisect_bound(lambda area: auc - area + z * standard_error(area), auc, 1.0)
    return low, high


def bisect_bound(excess: Callable[[float], float], low: float, high: float) -> float:
    """The place in [low, high] where `excess` turns from positive to negative; an end if nowhere."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (low + high) / 2
