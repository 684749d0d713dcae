"""AUC and average precision of one label: exact, with ties, NaN-masked, weighted by patient.

Both are computed from ranks: the distinct scores of the positive images are the levels, and every
negative image lies at a level or between two. Weights (how often a patient is sampled) enter only
as sums per level, which makes the bootstrap cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.float32] | Array


@dataclass(frozen=True)
class ScoreRanks:
    """Rank of each image of one label.

    Shape:
        positive: intp [n], the level 0..m-1 of a positive image, -1 for every other.
        negative: intp [n], 2j below level j, 2j + 1 at it, 2m above all; -1 for every other.
        levels: m, the number of distinct scores of the positive images.
    """

    positive: NDArray[np.intp]
    negative: NDArray[np.intp]
    levels: int

    @classmethod
    def of(cls, truth: Floats, score: Floats) -> ScoreRanks:
        """The ranks of `truth` [n] (1, 0 or NaN for unknown) and finite `score` [n]."""
        positive_scores, negative_scores = score[truth == 1], score[truth == 0]
        levels = np.unique(positive_scores)
        positive, negative = np.full((2, len(truth)), -1)
        positive[truth == 1] = np.searchsorted(levels, positive_scores)
        below, at_or_below = (np.searchsorted(levels, negative_scores, side) for side in ("left", "right"))
        negative[truth == 0] = below + at_or_below
        return cls(positive, negative, len(levels))


def compute_weighted_auc(positive: Array, negative: Array) -> Array:
    """Area under the ROC curve, ties counting one half (Mann-Whitney).

    Args:
        positive: float64 [m, R], weight of positive images per level, in each of R resamples.
        negative: float64 [2m + 1, R], weight of negative images between and at the levels.

    Returns:
        float64 [R] in [0, 1], NaN where a class has no weight.
    """
    below = np.cumsum(negative, axis=0)[0:-1:2]
    wins = (positive * (below + negative[1::2] / 2)).sum(axis=0)
    return safe_divide(wins, positive.sum(axis=0) * negative.sum(axis=0))


def compute_weighted_ap(positive: Array, negative: Array) -> Array:
    """Area under the precision-recall curve by the step rule (no interpolation).

    Arguments and result as for `compute_weighted_auc`. NaN without positives or without negatives
    (our choice: one class alone says nothing about ranking).
    """
    true_positives = np.cumsum(positive[::-1], axis=0)[::-1]
    false_positives = negative.sum(axis=0) - np.cumsum(negative, axis=0)[0:-1:2]
    precision_sum = (positive * safe_divide(true_positives, true_positives + false_positives, 0.0)).sum(axis=0)
    has_both = positive.sum(axis=0) * negative.sum(axis=0) > 0
    return np.where(has_both, safe_divide(precision_sum, positive.sum(axis=0)), np.nan)


def safe_divide(numerator: Array, denominator: Array, otherwise: float = np.nan) -> Array:
    """`numerator / denominator`, `otherwise` where the denominator is 0."""
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), otherwise)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def count_per_rank(ranks: ScoreRanks) -> tuple[Array, Array]:
    """Images per rank, positive [m, 1] and negative [2m + 1, 1]: every patient sampled once."""
    positive = np.bincount(ranks.positive[ranks.positive >= 0], minlength=ranks.levels)
    negative = np.bincount(ranks.negative[ranks.negative >= 0], minlength=2 * ranks.levels + 1)
    return positive[:, None].astype(np.float64), negative[:, None].astype(np.float64)


def compute_auc(truth: Floats, score: Floats) -> float:
    """AUC of one label; NaN when a class is absent.

    Shape:
        truth [n] in {0, 1, NaN}; images with NaN are left out. score [n], finite, any scale.
    """
    return float(compute_weighted_auc(*count_per_rank(ScoreRanks.of(truth, score)))[0])


def compute_ap(truth: Floats, score: Floats) -> float:
    """Average precision of one label; NaN when a class is absent. Shapes as for `compute_auc`."""
    return float(compute_weighted_ap(*count_per_rank(ScoreRanks.of(truth, score)))[0])


def count_positives_negatives(truth: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positive and negative images per label, each intp [C], of `truth` [n, C]."""
    return (truth == 1).sum(axis=0), (truth == 0).sum(axis=0)
