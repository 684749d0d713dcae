"""The cardiothoracic ratio from a model's masks against the ratio from the true ones.

Agreement after Bland and Altman (1986): the mean difference (bias) and the limits between which
95 % of the differences lie, mean +- 1.96 standard deviations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.cohort.columns import FRONTAL_VIEWS
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Estimate, Resamples, estimate_mean
from medprior.metrics.cardiothoracic_ratio import measure_cardiothoracic_ratio, stretch_to_square_pixels

RATIO_STRUCTURES = ("left_lung", "right_lung", "heart")
RATIO_PREFIX = "cardiothoracic"
MIN_RATIO_PAIRS = 3  # pairs from which on agreement is worth a number
LIMITS_IN_SD = 1.96


class RatioPairs:
    """Collects predicted and true ratios batch by batch, in the order of the images.

    Attributes:
        predicted, truth: lists of float64 [b], NaN where a ratio cannot be measured.
    """

    def __init__(self) -> None:
        self.predicted: list[Array] = []
        self.truth: list[Array] = []

    def __call__(self, part: Cohort, masks: dict[str, NDArray[np.bool_]]) -> None:
        """Take the masks bool [b, s, s] that a model drew of the images of `part`."""
        if set(RATIO_STRUCTURES) <= set(masks):
            self.predicted.append(measure_ratios({name: masks[name] for name in RATIO_STRUCTURES}, part))
            self.truth.append(measure_true_ratios(part, masks["heart"].shape[-1]))

    def both(self) -> tuple[Array, Array] | None:
        """Predicted and true ratios [n]; None where no batch had all three structures."""
        if not self.predicted:
            return None
        return np.concatenate(self.predicted), np.concatenate(self.truth)


def measure_ratios(masks: dict[str, NDArray[np.bool_]], cohort: Cohort) -> Array:
    """The ratio in every image, NaN where it cannot be measured or the view is not frontal.

    Shape:
        masks: structure -> bool [n, s, s] on the unit squares of the cohort's n images.
    """
    found = np.full(len(cohort), np.nan)
    for index, view in enumerate(cohort.manifest["view"].fillna("UNKNOWN")):
        if (view or "UNKNOWN") not in FRONTAL_VIEWS:
            continue
        aspect = float(cohort.aspect[index])
        one = measure_cardiothoracic_ratio(
            {name: stretch_to_square_pixels(mask[index], aspect) for name, mask in masks.items()}
        )
        if one is not None:
            found[index] = one.ratio
    return found


def measure_true_ratios(cohort: Cohort, size: int) -> Array:
    """The ratio from the true masks at `size` x `size`, NaN where one of them is not known."""
    masks, every = {}, np.ones(len(cohort), dtype=bool)
    for name in RATIO_STRUCTURES:
        coverage, known = cohort.mask_squares(name, size)
        masks[name] = coverage >= 0.5
        every &= known
    return np.where(every, measure_ratios(masks, cohort), np.nan)


def estimate_ratio_agreement(predicted: Array, truth: Array, draws: Resamples) -> dict[str, Estimate]:
    """`cardiothoracic.<mae|bias|limit_low|limit_high|measured>` with intervals over patients.

    `measured` is the share of the images with a true ratio in which the model gives one.

    Args:
        predicted: float64 [n], the ratios from the model's masks, NaN unknown.
        truth: float64 [n], those from the true masks.
        draws: resamples of the patients.
    """
    known = ~np.isnan(truth)
    difference = predicted - truth
    count = int((~np.isnan(difference)).sum())
    if count < MIN_RATIO_PAIRS:
        return {}
    given = np.where(known, (~np.isnan(predicted)).astype(np.float64), np.nan)
    bias = estimate_mean(difference, draws)
    spread = float(np.nanstd(difference, ddof=1))
    square = draws.mean(difference**2)
    spreads = np.sqrt(np.clip(square - bias.samples**2, 0, None) * count / (count - 1))
    found = {
        "mae": estimate_mean(np.abs(difference), draws),
        "bias": bias,
        "measured": estimate_mean(given, draws),
    }
    for name, sign in (("limit_low", -1), ("limit_high", 1)):
        value = bias.value + sign * LIMITS_IN_SD * spread
        found[name] = Estimate(value, bias.samples + sign * LIMITS_IN_SD * spreads, count)
    return {f"{RATIO_PREFIX}.{name}": estimate for name, estimate in found.items()}
