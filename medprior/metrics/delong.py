"""DeLong's test for two AUCs on the same images.

DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988); structural components by midranks after Sun
and Xu, IEEE Signal Processing Letters 21 (2014). The test assumes independent images: where
patients have several, report the paired patient-level bootstrap interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from medprior.metrics.auc import Array, Floats


@dataclass(frozen=True)
class DeLongResult:
    """Two AUCs, the standard error of their difference, and the two-sided p of "no difference"."""

    auc_a: float
    auc_b: float
    standard_error: float
    p: float


def compute_structural_components(truth: Floats, score: Floats) -> tuple[Array, Array]:
    """Structural components: per image, the share of the other class that it is ordered correctly to.

    Args:
        truth: [n] of 0 and 1.
        score: [n].

    Returns:
        float64 [positives], float64 [negatives], both with mean AUC.
    """
    positive, negative = score[truth == 1], score[truth == 0]
    ranks = rankdata(np.concatenate([positive, negative]))
    of_positives = (ranks[: len(positive)] - rankdata(positive)) / len(negative)
    of_negatives = 1 - (ranks[len(positive) :] - rankdata(negative)) / len(positive)
    return of_positives, of_negatives


def run_delong_test(truth: Floats, a: Floats, b: Floats) -> DeLongResult:
    """Test AUC(a) = AUC(b) on the images where `truth` is known.

    Shape:
        truth [n] in {0, 1, NaN}, a and b [n].

    Returns:
        All NaN with fewer than two images of a class; p = 1 when both scores give the same ranks.
    """
    known = ~np.isnan(truth)
    truth, a, b = truth[known], a[known], b[known]
    if min((truth == 1).sum(), (truth == 0).sum()) < 2:
        return DeLongResult(np.nan, np.nan, np.nan, np.nan)
    (pos_a, neg_a), (pos_b, neg_b) = (compute_structural_components(truth, score) for score in (a, b))
    variance = np.var(pos_a - pos_b, ddof=1) / len(pos_a) + np.var(neg_a - neg_b, ddof=1) / len(neg_a)
    error, difference = float(np.sqrt(variance)), float(pos_a.mean() - pos_b.mean())
    p = float(2 * norm.sf(abs(difference) / error)) if error > 0 else float(difference == 0)
    return DeLongResult(float(pos_a.mean()), float(pos_b.mean()), error, p)
