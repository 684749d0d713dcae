"""How well a prior fits the masks a cohort has: Dice of its half level, and pixel-AP."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.priors.prior import SpatialPrior

Maps = NDArray[np.float32]
Mask = NDArray[np.bool_]
LUNGS = ("left_lung", "right_lung")


def dice(predicted: Mask, truth: Mask) -> float:
    """Dice of two masks, [0, 1]."""
    return float(2 * (predicted & truth).sum() / max(1, predicted.sum() + truth.sum()))


def pixel_ap(scores: Maps, truth: Mask) -> float:
    """Area under the precision-recall curve over pixels, by the step rule, [0, 1]."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth.ravel(), scores.ravel()))


def comparable(maps: Maps, names: tuple[str, ...], structures: tuple[str, ...]) -> dict[str, Maps]:
    """Maps by structure, among those a cohort has masks of; two lungs make `lungs`.

    Shape:
        maps: float32 [..., K, h, h]; values float32 [..., h, h].
    """
    found = {name: maps[..., names.index(name), :, :] for name in names if name in structures}
    if "lungs" in structures and "lungs" not in names and set(LUNGS) <= set(names):
        found["lungs"] = np.maximum(*(maps[..., names.index(name), :, :] for name in LUNGS))
    return found


def truth_of(cohort: Cohort, structure: str, size: int) -> tuple[Maps, Mask]:
    """Coverage float32 [n, size, size] of a structure and whether it is known, bool [n]."""
    if structure == "lungs" and "lungs" not in cohort.structures:
        (left, one), (right, two) = (cohort.mask_squares(name, size) for name in LUNGS)
        return np.maximum(left, right), one & two
    return cohort.mask_squares(structure, size)


def quality(
    prior: SpatialPrior, cohort: Cohort, limit: int = 200, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Mean Dice and pixel-AP per structure over images whose mask is known.

    The annotated image is left out. At most `limit` images are judged.

    Returns:
        structure -> {"dice", "pixel_ap", "dice_p5", "n"}; empty where the cohort has no such mask.
    """
    structures = cohort.structures
    if set(LUNGS) <= set(structures):
        structures = (*structures, "lungs")
    keep = [image_id for image_id in cohort.image_ids if image_id not in prior.excluded]
    part = cohort.select(keep).take(limit, seed)
    if not len(part):
        return {}
    found = comparable(prior.batch(part.image_ids), prior.names, structures)
    return {
        name: scores
        for name, maps in found.items()
        if (scores := judged(maps, *truth_of(part, name, maps.shape[-1])))
    }


def judged(maps: Maps, coverage: Maps, known: Mask) -> dict[str, Any]:
    """Dice and pixel-AP of maps [n, h, h] against coverage [n, h, h]; empty without truth."""
    truth = coverage >= 0.5
    rows = [row for row in np.flatnonzero(known) if truth[row].any()]
    if not rows:
        return {}
    overlaps = [dice(maps[row] >= 0.5, truth[row]) for row in rows]
    return {
        "dice": round(float(np.mean(overlaps)), 4),
        "dice_p5": round(float(np.percentile(overlaps, 5)), 4),
        "pixel_ap": round(float(np.mean([pixel_ap(maps[row], truth[row]) for row in rows])), 4),
        "n": len(rows),
    }
