"""Agreement of the cardiothoracic ratio from predicted masks with the one from true masks, and with published ones.

Agreement after Bland and Altman (1986): the mean difference (bias) and the limits between which
95 % of the differences lie, mean +- 1.96 standard deviations.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.dicom.radiograph import FRONTAL_VIEWS
from medprior.ingest.measurements import MEASUREMENTS_FILE
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Estimate, Resamples, estimate_auc_and_ap, estimate_mean
from medprior.metrics.cardiothoracic_ratio import measure_cardiothoracic_ratio, stretch_to_square_pixels

RATIO_STRUCTURES = ("left_lung", "right_lung", "heart")
RATIO_PREFIX = "cardiothoracic"
PUBLISHED_PREFIX = "cardiothoracic_published"
RATIO_MEASUREMENT = "ctr"  # its name in descriptors
MIN_RATIO_PAIRS = 3  # fewest pairs for which agreement is reported
LIMITS_IN_SD = 1.96
ENLARGED_HEART_RATIOS = (0.5, 0.55)
"""A heart wider than half of the thorax is called enlarged in adults; in AP images more than that is usual."""
CARDIOMEGALY_LABEL = "cardiomegaly"


class RatioPairs:
    """Collects predicted and true ratios batch by batch, in the order of the images.

    Attributes:
        predicted, truth: lists of float64 [b], NaN where a ratio cannot be measured.
    """

    def __init__(self) -> None:
        self.predicted: list[Array] = []
        self.truth: list[Array] = []

    def add_batch(self, part: Cohort, masks: dict[str, NDArray[np.bool_]]) -> None:
        """Add the predicted masks, bool [b, s, s] by structure, of the images of `part`."""
        if set(RATIO_STRUCTURES) <= set(masks):
            self.predicted.append(measure_ratios({name: masks[name] for name in RATIO_STRUCTURES}, part))
            self.truth.append(measure_true_ratios(part, masks["heart"].shape[-1]))

    def concatenate(self) -> tuple[Array, Array] | None:
        """Predicted and true ratios [n]; None if no batch has all three structures."""
        if not self.predicted:
            return None
        return np.concatenate(self.predicted), np.concatenate(self.truth)


def measure_ratios(masks: dict[str, NDArray[np.bool_]], cohort: Cohort) -> Array:
    """The ratio in every image, NaN where it cannot be measured or the view is not frontal.

    Shape:
        masks: structure -> bool [n, s, s] on the unit squares of the cohort's n images.
    """
    ratios = np.full(len(cohort), np.nan)
    for index, view in enumerate(cohort.manifest["view"].fillna("UNKNOWN")):
        if (view or "UNKNOWN") not in FRONTAL_VIEWS:
            continue
        aspect = float(cohort.aspect[index])
        measurement = measure_cardiothoracic_ratio(
            {name: stretch_to_square_pixels(mask[index], aspect) for name, mask in masks.items()}
        )
        if measurement is not None:
            ratios[index] = measurement.ratio
    return ratios


def measure_true_ratios(cohort: Cohort, size: int) -> Array:
    """The ratio from the true masks at `size` x `size`, NaN where one is unknown."""
    masks, is_complete = {}, np.ones(len(cohort), dtype=bool)
    for name in RATIO_STRUCTURES:
        coverage, is_known = cohort.mask_squares(name, size)
        masks[name] = coverage >= 0.5
        is_complete &= is_known
    return np.where(is_complete, measure_ratios(masks, cohort), np.nan)


def load_published_ratios(cohort: Cohort) -> Array:
    """Ratios that came with the data set, float64 [n] in the order of the images, NaN unknown."""
    path = cohort.path / MEASUREMENTS_FILE
    if not path.is_file():
        return np.full(len(cohort), np.nan)
    table = pd.read_parquet(path)
    values = table[table.name == RATIO_MEASUREMENT].set_index("image_id")["value"]
    return values.reindex(list(cohort.image_ids)).to_numpy(dtype=np.float64)


def estimate_ratio_agreement(
    predicted: Array, truth: Array, draws: Resamples, prefix: str = RATIO_PREFIX
) -> dict[str, Estimate]:
    """`<prefix>.<mae|bias|limit_low|limit_high|measured>` with intervals over patients.

    `measured` is the share of images with a true ratio for which the model gives one.

    Args:
        predicted: float64 [n], the ratios from the model's masks, NaN unknown.
        truth: float64 [n], those from the true masks.
        draws: resamples of the patients.
        prefix: of the keys.
    """
    is_known = ~np.isnan(truth)
    difference = predicted - truth
    count = int((~np.isnan(difference)).sum())
    if count < MIN_RATIO_PAIRS:
        return {}
    is_measured = np.where(is_known, (~np.isnan(predicted)).astype(np.float64), np.nan)
    bias = estimate_mean(difference, draws)
    deviation = float(np.nanstd(difference, ddof=1))
    mean_squares = draws.mean(difference**2)
    deviations = np.sqrt(np.clip(mean_squares - bias.samples**2, 0, None) * count / (count - 1))
    estimates = {
        "mae": estimate_mean(np.abs(difference), draws),
        "bias": bias,
        "measured": estimate_mean(is_measured, draws),
    }
    for name, sign in (("limit_low", -1), ("limit_high", 1)):
        value = bias.value + sign * LIMITS_IN_SD * deviation
        estimates[name] = Estimate(value, bias.samples + sign * LIMITS_IN_SD * deviations, count)
    return {f"{prefix}.{name}": estimate for name, estimate in estimates.items()}


def estimate_ratio_detection(predicted: Array, truth: Array, cohort: Cohort, draws: Resamples) -> dict[str, Estimate]:
    """How well the predicted ratio finds large hearts, no label having been learnt.

    Returns:
        `cardiothoracic.auc_50` and `auc_55`: AUC for a true ratio above 0.5 and 0.55; `auc_label`: for the cohort's
        label `cardiomegaly`, in any case. Images without a predicted ratio are left out; a target without both classes
        is absent.
    """
    targets = {
        f"auc_{round(100 * limit)}": np.where(np.isnan(truth), np.nan, truth > limit) for limit in ENLARGED_HEART_RATIOS
    }
    labels = [name for name in cohort.label_names if name.lower() == CARDIOMEGALY_LABEL]
    if labels:
        values = cohort.labels(labels)[:, 0].astype(np.float64)
        targets["auc_label"] = np.where(np.isin(values, (0, 1)), values, np.nan)
    estimates = {}
    for name, target in targets.items():
        target = np.where(np.isnan(predicted), np.nan, target)
        if {0.0, 1.0} <= set(target[~np.isnan(target)].tolist()):
            (estimate,), _ = estimate_auc_and_ap(target[:, None], np.nan_to_num(predicted)[:, None], draws)
            estimate.facts["positives"] = int(np.nansum(target))
            estimates[f"{RATIO_PREFIX}.{name}"] = estimate
    return estimates
