"""Assigns train, val and test splits, disjoint by patient and by pixels, stable under additions."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medprior.cohort.columns import SPLITS
from medprior.cohort.stratified_splits import stratify_small_splits
from medprior.errors import ConfigError

TRAIN_VAL = "train_val"
ENOUGH_GROUPS = 10  # a split of so many groups stays as the hash made it


def group_linked_images(patient_ids: Sequence[str], pixel_hashes: Sequence[str]) -> NDArray[np.intp]:
    """Group of every image, intp [n]: images linked by equal patients or pixels share one."""
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
    """A number in [0, 1) that depends on `name` and `seed` alone."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def assign_patient_splits(
    patient_ids: Sequence[str],
    pixel_hashes: Sequence[str],
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    official: Sequence[str | None] | None = None,
    labels: NDArray[np.float64] | None = None,
) -> NDArray[np.str_]:
    """Splits that share no patient and no pixels.

    A group's position is a hash of its smallest patient id and the seed, so that new files do not
    move old ones. Where a split is empty by chance and there are enough groups, the group with the
    nearest position moves into it; a split that got less than half of its share, and fewer than ten
    groups, gets its share or ten groups in the same way; with `labels`, a split of fewer than a hundred groups then
    swaps groups for those that it needs to judge a label (our choices).

    Args:
        patient_ids: one per image.
        pixel_hashes: one per image; images with equal pixels share a split whatever their patient id.
        fractions: expected shares of train, val and test.
        seed: of the hash; another seed gives another split.
        official: a data set's own split per image: `train`, `val`, `test`, `train_val` (train or
            val by hash) or None. A group in several takes test before val before train.
        labels: [n, L], NaN for unknown; None to leave them out of account.

    Returns:
        One of `train`, `val`, `test` per image.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError("fractions must be 0 or more and add up to 1", where="fractions", found=str(fractions))
    groups = group_linked_images(patient_ids, pixel_hashes)
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(index)
    positions = {g: hash_to_unit_interval(min(patient_ids[i] for i in m), seed) for g, m in members.items()}
    split_by_group: dict[int, str] = {}
    free_positions: dict[int, float] = {}
    train_val_positions: dict[int, float] = {}
    share = fractions[0] + fractions[1]
    for group, position in positions.items():
        official_splits = {official[i] for i in members[group]} if official is not None else set()
        split = next((name for name in reversed(SPLITS) if name in official_splits), None)
        if split is None and TRAIN_VAL in official_splits:
            split = "train" if position * share < fractions[0] else "val"
            train_val_positions[group] = position
        if split is None:
            split = SPLITS[int(np.searchsorted(np.cumsum(fractions)[:2], position, side="right"))]
            free_positions[group] = position
        split_by_group[group] = split
    fill_empty_splits(split_by_group, free_positions, fractions)
    pools = [(free_positions, fractions)]
    if train_val_positions and share:
        pools.append((train_val_positions, (fractions[0] / share, fractions[1] / share, 0.0)))
    for movable, shares in pools:
        fill_small_splits(split_by_group, movable, shares)
        if labels is not None:
            stratify_small_splits(split_by_group, movable, shares, groups.tolist(), labels)
    return np.array([split_by_group[group] for group in groups.tolist()], dtype=np.str_)


def fill_empty_splits(
    split_by_group: dict[int, str], free_positions: dict[int, float], fractions: tuple[float, float, float]
) -> None:
    """Move, in place, the nearest group without official split into each empty split."""
    edges = np.concatenate([[0.0], np.cumsum(fractions)])
    for number, name in enumerate(SPLITS):
        group_counts = Counter(split_by_group.values())
        movable = [group for group in free_positions if group_counts[split_by_group[group]] > 1]
        if name in group_counts or fractions[number] == 0 or len(split_by_group) < len(SPLITS) or not movable:
            continue
        low, high = edges[number], edges[number + 1]
        nearest = min(
            movable, key=lambda g: (max(low - free_positions[g], free_positions[g] - high), free_positions[g])
        )
        split_by_group[nearest] = name
        del free_positions[nearest]


def fill_small_splits(
    split_by_group: dict[int, str], positions: dict[int, float], fractions: tuple[float, float, float]
) -> None:
    """Move, in place, the nearest groups into each split that has less than half of its share of `positions`.

    It is filled up to its share, at most to `ENOUGH_GROUPS`; with as many it stays as it is. Groups in it that may not
    move count, too. No split gives away what it needs itself.

    Args:
        split_by_group: split of every group.
        positions: in [0, 1), of the groups that may move.
        fractions: shares of `positions` of train, val and test; 0 for a split that takes none.
    """
    expected = {name: share * len(positions) for name, share in zip(SPLITS, fractions, strict=True)}
    least = {name: min(ENOUGH_GROUPS, round(count)) for name, count in expected.items()}
    edges = np.concatenate([[0.0], np.cumsum(fractions)])
    counts = Counter(split_by_group.values())
    for number, name in enumerate(SPLITS):
        if counts[name] >= min(ENOUGH_GROUPS, expected[name] / 2):
            continue
        low, high = edges[number], edges[number + 1]
        nearest = sorted(positions, key=lambda g: (max(low - positions[g], positions[g] - high), positions[g]))
        for group in nearest:
            source = split_by_group[group]
            if counts[name] < least[name] and counts[source] > max(least[source], 1) and source != name:
                split_by_group[group] = name
                counts.update({name: 1, source: -1})
