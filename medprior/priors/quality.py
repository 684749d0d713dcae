"""How well a prior fits the masks a cohort has: Dice of its half level, and pixel-AP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.priors.prior import SpatialPrior

Maps = NDArray[np.float32]
Mask = NDArray[np.bool_]
Interval = tuple[float, float]
LUNG_PAIR = ("left_lung", "right_lung")


def compute_mask_dice(predicted: Mask, truth: Mask) -> float:
    """Dice of two masks, [0, 1]."""
    return float(2 * (predicted & truth).sum() / max(1, predicted.sum() + truth.sum()))


def compute_mask_pixel_ap(scores: Maps, truth: Mask) -> float:
    """Area under the precision-recall curve over pixels, by the step rule, [0, 1]."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth.ravel(), scores.ravel()))


def select_comparable_maps(maps: Maps, names: tuple[str, ...], structures: tuple[str, ...]) -> dict[str, Maps]:
    """Maps by structure, among those a cohort has masks of; two lungs make `lungs`.

    Shape:
        maps: float32 [..., K, h, h]; values float32 [..., h, h].
    """
    found = {name: maps[..., names.index(name), :, :] for name in names if name in structures}
    if "lungs" in structures and "lungs" not in names and set(LUNG_PAIR) <= set(names):
        found["lungs"] = np.maximum(*(maps[..., names.index(name), :, :] for name in LUNG_PAIR))
    return found


def load_true_coverage(cohort: Cohort, structure: str, size: int) -> tuple[Maps, Mask]:
    """Coverage float32 [n, size, size] of a structure and whether it is known, bool [n]."""
    if structure == "lungs" and "lungs" not in cohort.structures:
        (left, one), (right, two) = (cohort.mask_squares(name, size) for name in LUNG_PAIR)
        return np.maximum(left, right), one & two
    return cohort.mask_squares(structure, size)


def summarise_quality(
    prior: SpatialPrior, cohort: Cohort, limit: int = 200, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Mean Dice and pixel-AP per structure over images whose mask is known.

    The annotated images are left out. At most `limit` images are judged.

    Returns:
        structure -> {"dice", "pixel_ap", "dice_p5", "n"}; empty where the cohort has no such mask.
    """
    return {
        name: {
            "dice": round(float(table.dice.mean()), 4),
            "dice_p5": round(float(np.percentile(table.dice, 5)), 4),
            "pixel_ap": round(float(table.pixel_ap.mean()), 4),
            "n": len(table),
        }
        for name, table in compute_image_scores(prior, cohort, limit, seed).items()
    }


def compute_image_scores(
    prior: SpatialPrior, cohort: Cohort, limit: int = 200, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Structure -> `image_id, patient_id, dice, pixel_ap` of each image judged; see `quality`."""
    structures = cohort.structures
    if set(LUNG_PAIR) <= set(structures):
        structures = (*structures, "lungs")
    keep = [image_id for image_id in cohort.image_ids if image_id not in prior.excluded]
    part = cohort.select(keep).take(limit, seed)
    if not len(part):
        return {}
    found = select_comparable_maps(prior.batch(part.image_ids), prior.names, structures)
    tables = {
        name: score_structure_maps(part, maps, *load_true_coverage(part, name, maps.shape[-1]))
        for name, maps in found.items()
    }
    return {name: table for name, table in tables.items() if len(table)}


def score_structure_maps(cohort: Cohort, maps: Maps, coverage: Maps, known: Mask) -> pd.DataFrame:
    """Dice and pixel-AP of maps [n, h, h] against coverage [n, h, h], where there is truth."""
    truth = coverage >= 0.5
    rows = [int(row) for row in np.flatnonzero(known) if truth[row].any()]
    table = cohort.manifest.iloc[rows][["image_id", "patient_id"]].reset_index(drop=True)
    return table.assign(
        dice=[compute_mask_dice(maps[row] >= 0.5, truth[row]) for row in rows],
        pixel_ap=[compute_mask_pixel_ap(maps[row], truth[row]) for row in rows],
    )


def bootstrap_mean_interval(values: NDArray[np.float64], patients: NDArray[Any], draws: int = 1000) -> Interval:
    """95 % interval of the mean over images, by drawing patients with replacement.

    Shape:
        values: float64 [n]. patients: [n], whose image each is.
    """
    _, patient = np.unique(patients, return_inverse=True)
    sums, counts = np.bincount(patient, values), np.bincount(patient)
    drawn = np.random.default_rng(0).integers(len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
