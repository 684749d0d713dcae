"""Targets: the structures that are scored, with `lungs` matched to its two sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.errors import InputMissing

LUNGS_TARGET, LUNG_SIDES = "lungs", ("left_lung", "right_lung")
SCORED_ORGANS = (*LUNG_SIDES, LUNGS_TARGET, "heart")
Targets = dict[str, tuple[str, ...]]


def select_targets(structures: Iterable[str], mapped: Iterable[str]) -> Targets:
    """Targets to score: target -> the mask structures whose union is its truth.

    Args:
        structures: structures the cohort has masks of.
        mapped: structures the backbones and priors have maps of; organs are always scored.

    If the maps only have `lungs` and the cohort has both sides, the union of its masks is used.
    """
    available, wanted = set(structures), set(mapped)
    targets: Targets = {name: (name,) for name in available & (wanted | set(SCORED_ORGANS))}
    if (
        LUNGS_TARGET in wanted
        and LUNGS_TARGET not in available
        and available >= set(LUNG_SIDES)
        and not wanted & set(LUNG_SIDES)
    ):
        for side in LUNG_SIDES:
            del targets[side]
        targets[LUNGS_TARGET] = LUNG_SIDES
    return {name: targets[name] for name in sorted(targets)}


def find_target_maps(target: str, assigned: Mapping[str, int]) -> tuple[int, ...] | None:
    """Indices of the maps whose mean is the map of `target`; None where none is assigned."""
    if target in assigned:
        return (assigned[target],)
    if target == LUNGS_TARGET and all(side in assigned for side in LUNG_SIDES):
        return tuple(assigned[side] for side in LUNG_SIDES)
    return None


def load_true_masks(cohort: Cohort, targets: Targets, size: int) -> NDArray[np.bool_]:
    """Masks of every target on the unit square: bool [n, K, size, size], empty where unknown.

    Raises:
        InputMissing: a stored mask and its image differ in size.
    """
    result = np.zeros((len(cohort), len(targets), size, size), dtype=bool)
    for column, structures in enumerate(targets.values()):
        is_known = np.ones(len(cohort), dtype=bool)
        for structure in structures:
            check_mask_size(cohort, structure)
            coverage, part_known = cohort.mask_squares(structure, size)
            result[:, column] |= coverage >= 0.5
            is_known &= part_known
        result[~is_known, column] = False
    return result


def check_mask_size(cohort: Cohort, structure: str) -> None:
    """InputMissing if the first stored mask of `structure` and its image differ in size."""
    column = cohort.manifest.get(f"mask_{structure}")
    if column is None or not column.notna().any():
        return
    image_id = cohort.image_ids[int(np.flatnonzero(column.notna())[0])]
    mask, pixels = cohort.mask(image_id, structure), cohort.pixels(image_id)
    if mask is not None and mask.shape != pixels.shape:
        raise InputMissing(
            f"mask {structure!r} has another size than its image",
            where=f"image {image_id}",
            expected="x".join(map(str, pixels.shape)),
            found="x".join(map(str, mask.shape)),
            fix="run `medprior ingest` again",
        )


def select_annotated_targets(cohort: Cohort, targets: Targets) -> Targets:
    """The targets for which at least one image has all masks."""
    table = cohort.manifest
    return {
        target: structures
        for target, structures in targets.items()
        if table[[f"mask_{name}" for name in structures]].notna().all(axis=1).any()
    }
