"""Train, validation and test, disjoint by patient and by picture, stable when files are added."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medprior.cohort.columns import SPLITS
from medprior.errors import ConfigError

TRAIN_VAL = "train_val"


def group_linked_images(patient_ids: Sequence[str], pixel_hashes: Sequence[str]) -> NDArray[np.intp]:
    """Group of every image: two share one when a chain of patients or pixels joins them."""
    parent = np.arange(len(patient_ids))

    def root(index: int) -> int:
        """The first member of a group."""
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, keys in enumerate(zip(patient_ids, pixel_hashes, strict=True)):
        for key in zip(("patient", "pixels"), keys, strict=True):
            low, high = sorted((root(first.setdefault(key, index)), root(index)))
            parent[high] = low
    return np.array([root(index) for index in range(len(parent))], dtype=np.intp)


def hash_to_unit_interval(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on nothing but `name` and `seed`."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def assign_patient_splits(
    patient_ids: Sequence[str],
    pixel_hashes: Sequence[str],
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    official: Sequence[str | None] | None = None,
) -> NDArray[np.str_]:
    """Splits in which no patient and no picture is on two sides.

    A group's place follows from a hash of its smallest patient id and the seed, so that new files
    leave old ones where they are. Where chance leaves a split empty and there are groups enough,
    the group nearest to it moves there (our choice).

    Args:
        patient_ids: one per image.
        pixel_hashes: one per image; equal pictures are kept together whoever they are said to be.
        fractions: expected shares of train, val and test.
        seed: another seed is another split.
        official: a data set's own split per image: `train`, `val`, `test`, `train_val` (train and
            val are drawn by hash) or None. Where a group is in two, test wins over val over train.

    Returns:
        One of `train`, `val`, `test` per image.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError("not shares of 1", where="fractions", found=str(fractions))
    groups = group_linked_images(patient_ids, pixel_hashes)
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(index)
    places = {g: hash_to_unit_interval(min(patient_ids[i] for i in m), seed) for g, m in members.items()}
    chosen: dict[int, str] = {}
    free: dict[int, float] = {}
    for group, place in places.items():
        given = {official[i] for i in members[group]} if official is not None else set()
        fixed = next((name for name in reversed(SPLITS) if name in given), None)
        if fixed is None and TRAIN_VAL in given:
            share = fractions[0] + fractions[1]
            fixed = "train" if place * share < fractions[0] else "val"
        if fixed is None:
            fixed = SPLITS[int(np.searchsorted(np.cumsum(fractions)[:2], place, side="right"))]
            free[group] = place
        chosen[group] = fixed
    fill_empty_splits(chosen, free, fractions)
    return np.array([chosen[group] for group in groups.tolist()], dtype=np.str_)


def fill_empty_splits(chosen: dict[int, str], free: dict[int, float], fractions: tuple[float, float, float]) -> None:
    """Move, in place, the nearest free group into each split that chance left empty."""
    edges = np.concatenate([[0.0], np.cumsum(fractions)])
    for number, name in enumerate(SPLITS):
        held = Counter(chosen.values())
        movable = [group for group in free if held[chosen[group]] > 1]
        if name in held or fractions[number] == 0 or len(chosen) < len(SPLITS) or not movable:
            continue
        low, high = edges[number], edges[number + 1]
        nearest = min(movable, key=lambda g: (max(low - free[g], free[g] - high), free[g]))
        chosen[nearest] = name
        del free[nearest]
