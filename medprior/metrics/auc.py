"""AUC and average precision of one label: exact, with ties, NaN-masked, weighted by patient.

Both are read from the same ladder: the distinct scores of the positive images are its rungs, and
every negative image lies on a rung or between two. Weights (how often a patient was drawn) enter
only as sums per rung, which is what makes the bootstrap cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.float32] | Array


@dataclass(frozen=True)
class ScoreRanks:
    """Where each image of one label stands.

    Shape:
        positive: intp [n], the rung 0..m-1 of a positive image, -1 for every other.
        negative: intp [n], 2j below rung j, 2j + 1 on it, 2m above all; -1 for every other.
        rungs: m, how many distinct scores the positive images have.
    """

    positive: NDArray[np.intp]
    negative: NDArray[np.intp]
    rungs: int

    @classmethod
    def of(cls, truth: Floats, score: Floats) -> ScoreRanks:
        """The ladder of `truth` [n] (1, 0 or NaN for unknown) and finite `score` [n]."""
        yes, no = score[truth == 1], score[truth == 0]
        rungs = np.unique(yes)
        positive, negative = np.full((2, len(truth)), -1)
        positive[truth == 1] = np.searchsorted(rungs, yes)
        below, reached = (np.searchsorted(rungs, no, side) for side in ("left", "right"))
        negative[truth == 0] = below + reached
        return cls(positive, negative, len(rungs))


def compute_weighted_auc(positive: Array, negative: Array) -> Array:
    """Area under the ROC curve, ties counting one half (Mann-Whitney).

    Args:
        positive: float64 [m, R], weight of positive images per rung, in each of R resamples.
        negative: float64 [2m + 1, R], weight of negative images between and on the rungs.

    Returns:
        float64 [R] in [0, 1], NaN where a class has no weight.
    """
    below = np.cumsum(negative, axis=0)[0:-1:2]
    wins = (positive * (below + negative[1::2] / 2)).sum(axis=0)
    return safe_divide(wins, positive.sum(axis=0) * negative.sum(axis=0))


def compute_weighted_ap(positive: Array, negative: Array) -> Array:
    """Area under the precision-recall curve by the step rule (no interpolation).

    Arguments and result as for `auc_on_ladder`. Without positives or without negatives it is NaN:
    our choice, since neither says anything about ranking.
    """
    true = np.cumsum(positive[::-1], axis=0)[::-1]
    false = negative.sum(axis=0) - np.cumsum(negative, axis=0)[0:-1:2]
    gained = (positive * safe_divide(true, true + false, 0.0)).sum(axis=0)
    either = positive.sum(axis=0) * negative.sum(axis=0) > 0
    return np.where(either, safe_divide(gained, positive.sum(axis=0)), np.nan)


def safe_divide(numerator: Array, denominator: Array, otherwise: float = np.nan) -> Array:
    """`numerator / denominator`, `otherwise` where the denominator is 0."""
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), otherwise)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def count_per_rank(ladder: ScoreRanks) -> tuple[Array, Array]:
    """Images per rung, positive [m, 1] and negative [2m + 1, 1]: every patient drawn once."""
    yes = np.bincount(ladder.positive[ladder.positive >= 0], minlength=ladder.rungs)
    no = np.bincount(ladder.negative[ladder.negative >= 0], minlength=2 * ladder.rungs + 1)
    return yes[:, None].astype(np.float64), no[:, None].astype(np.float64)


def compute_auc(truth: Floats, score: Floats) -> float:
    """AUC of one label; NaN when a class is absent.

    Shape:
        truth [n] in {0, 1, NaN}; images with NaN are left out. score [n], finite, any scale.
    """
    return float(compute_weighted_auc(*count_per_rank(ScoreRanks.of(truth, score)))[0])


def compute_ap(truth: Floats, score: Floats) -> float:
    """Average precision of one label; NaN when a class is absent. Shapes as for `auc`."""
    return float(compute_weighted_ap(*count_per_rank(ScoreRanks.of(truth, score)))[0])


def count_positives_negatives(truth: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positive and negative images per label, each intp [C], of `truth` [n, C]."""
    return (truth == 1).sum(axis=0), (truth == 0).sum(axis=0)
