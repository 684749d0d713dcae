"""Dice at the half level and pixel-AP of a prior against the masks of a cohort."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.metrics.overlap import compute_dice
from medprior.metrics.pixel_ap import compute_pixel_ap
from medprior.priors.prior import SpatialPrior

Maps = NDArray[np.float32]
Mask = NDArray[np.bool_]
LUNG_PAIR = ("left_lung", "right_lung")


def select_maps_by_structure(maps: Maps, names: tuple[str, ...], structures: tuple[str, ...]) -> dict[str, Maps]:
    """Maps by structure, of the structures that a cohort has masks of; `lungs` joins two lungs.

    Shape:
        maps: float32 [..., K, h, h]; values float32 [..., h, h].
    """
    selected = {name: maps[..., names.index(name), :, :] for name in names if name in structures}
    if "lungs" in structures and "lungs" not in names and set(LUNG_PAIR) <= set(names):
        selected["lungs"] = np.maximum(*(maps[..., names.index(name), :, :] for name in LUNG_PAIR))
    return selected


def load_true_coverage(cohort: Cohort, structure: str, size: int) -> tuple[Maps, Mask]:
    """Coverage float32 [n, size, size] of a structure and whether it is known, bool [n]."""
    if structure == "lungs" and "lungs" not in cohort.structures:
        (left, left_known), (right, right_known) = (cohort.mask_squares(name, size) for name in LUNG_PAIR)
        return np.maximum(left, right), left_known & right_known
    return cohort.mask_squares(structure, size)


def summarise_quality(
    prior: SpatialPrior, cohort: Cohort, limit: int = 200, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Mean Dice and pixel-AP per structure over images whose mask is known.

    Without the annotated images; at most `limit` images are scored.

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
    """Structure -> `image_id, patient_id, dice, pixel_ap` of each scored image; see `summarise_quality`."""
    structures = cohort.structures
    if set(LUNG_PAIR) <= set(structures):
        structures = (*structures, "lungs")
    keep = [image_id for image_id in cohort.image_ids if image_id not in prior.excluded]
    part = cohort.select(keep).take(limit, seed)
    if not len(part):
        return {}
    maps_by_name = select_maps_by_structure(prior.batch(part.image_ids), prior.names, structures)
    tables = {
        name: score_structure_maps(part, maps, *load_true_coverage(part, name, maps.shape[-1]))
        for name, maps in maps_by_name.items()
    }
    return {name: table for name, table in tables.items() if len(table)}


def score_structure_maps(cohort: Cohort, maps: Maps, coverage: Maps, known: Mask) -> pd.DataFrame:
    """Dice and pixel-AP of maps [n, h, h] against coverage [n, h, h], where it is known."""
    truth = coverage >= 0.5
    rows = [int(row) for row in np.flatnonzero(known) if truth[row].any()]
    table = cohort.manifest.iloc[rows][["image_id", "patient_id"]].reset_index(drop=True)
    return table.assign(
        dice=compute_dice(maps[rows] >= 0.5, truth[rows]),
        pixel_ap=[float(compute_pixel_ap(maps[row][None], truth[row][None])[0, 0]) for row in rows],
    )
