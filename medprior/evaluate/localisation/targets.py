"""Which structures are scored, and how `lungs` and its two halves answer for one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.errors import InputMissing

LUNGS_TARGET, LUNG_SIDES = "lungs", ("left_lung", "right_lung")
SCORED_ORGANS = (*LUNG_SIDES, LUNGS_TARGET, "heart")
Targets = dict[str, tuple[str, ...]]


def select_targets(structures: Iterable[str], named: Iterable[str]) -> Targets:
    """What to score: target -> the mask structures whose union is its truth.

    Args:
        structures: what the cohort has masks of.
        named: what the backbones and priors have maps of; without any, the organs are taken.

    A cohort with two lungs whose maps only know `lungs` is scored on the union of its two masks.
    """
    known, wanted = set(structures), set(named)
    found: Targets = {name: (name,) for name in known & (wanted | set(SCORED_ORGANS))}
    if (
        LUNGS_TARGET in wanted
        and LUNGS_TARGET not in known
        and known >= set(LUNG_SIDES)
        and not wanted & set(LUNG_SIDES)
    ):
        for side in LUNG_SIDES:
            del found[side]
        found[LUNGS_TARGET] = LUNG_SIDES
    return {name: found[name] for name in sorted(found)}


def find_target_maps(target: str, assigned: Mapping[str, int]) -> tuple[int, ...] | None:
    """The maps whose mean stands for `target`; None where no map is assigned to it."""
    if target in assigned:
        return (assigned[target],)
    if target == LUNGS_TARGET and all(side in assigned for side in LUNG_SIDES):
        return tuple(assigned[side] for side in LUNG_SIDES)
    return None


def load_true_masks(cohort: Cohort, wanted: Targets, size: int) -> NDArray[np.bool_]:
    """Masks of every target on the unit square: bool [n, K, size, size], empty where unknown.

    Raises:
        InputMissing: a stored mask does not lie on the grid of its picture.
    """
    result = np.zeros((len(cohort), len(wanted), size, size), dtype=bool)
    for column, parts in enumerate(wanted.values()):
        known = np.ones(len(cohort), dtype=bool)
        for part in parts:
            check_mask_size(cohort, part)
            coverage, there = cohort.mask_squares(part, size)
            result[:, column] |= coverage >= 0.5
            known &= there
        result[~known, column] = False
    return result


def check_mask_size(cohort: Cohort, structure: str) -> None:
    """Compare one stored mask of `structure` with its picture."""
    column = cohort.manifest.get(f"mask_{structure}")
    if column is None or not column.notna().any():
        return
    image_id = cohort.image_ids[int(np.flatnonzero(column.notna())[0])]
    mask, pixels = cohort.mask(image_id, structure), cohort.pixels(image_id)
    if mask is not None and mask.shape != pixels.shape:
        raise InputMissing(
            f"mask {structure!r} has another size than its picture",
            where=f"image {image_id}",
            expected="x".join(map(str, pixels.shape)),
            found="x".join(map(str, mask.shape)),
            fix="run `medprior ingest` again",
        )


def select_annotated_targets(cohort: Cohort, wanted: Targets) -> Targets:
    """The targets of which at least one image has all masks."""
    table = cohort.manifest
    return {
        target: parts
        for target, parts in wanted.items()
        if table[[f"mask_{part}" for part in parts]].notna().all(axis=1).any()
    }
