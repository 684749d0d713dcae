"""DeLong's test for two AUCs on the same images.

DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988); structural components by midranks after Sun
and Xu, IEEE Signal Processing Letters 21 (2014). It takes images as independent: where patients
have several, the paired patient-level bootstrap is the interval to quote.
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
    """Structural components: for each positive (negative) image the share of the others it beats.

    Args:
        truth: [n] of 0 and 1.
        score: [n].

    Returns:
        float64 [positives], float64 [negatives], both with mean AUC.
    """
    yes, no = score[truth == 1], score[truth == 0]
    ranks = rankdata(np.concatenate([yes, no]))
    beaten = (ranks[: len(yes)] - rankdata(yes)) / len(no)
    unbeaten = 1 - (ranks[len(yes) :] - rankdata(no)) / len(yes)
    return beaten, unbeaten


def run_delong_test(truth: Floats, a: Floats, b: Floats) -> DeLongResult:
    """Test AUC(a) = AUC(b) on the images where `truth` is known.

    Shape:
        truth [n] in {0, 1, NaN}, a and b [n].

    Returns:
        NaN throughout with fewer than two images of a class; p = 1 when the scores rank alike.
    """
    known = ~np.isnan(truth)
    truth, a, b = truth[known], a[known], b[known]
    if min((truth == 1).sum(), (truth == 0).sum()) < 2:
        return DeLongResult(np.nan, np.nan, np.nan, np.nan)
    (yes_a, no_a), (yes_b, no_b) = compute_structural_components(truth, a), compute_structural_components(truth, b)
    variance = np.var(yes_a - yes_b, ddof=1) / len(yes_a) + np.var(no_a - no_b, ddof=1) / len(no_a)
    error, gap = float(np.sqrt(variance)), float(yes_a.mean() - yes_b.mean())
    p = float(2 * norm.sf(abs(gap) / error)) if error > 0 else float(gap == 0)
    return DeLongResult(float(yes_a.mean()), float(yes_b.mean()), error, p)
