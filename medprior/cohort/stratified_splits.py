"""Gives small splits what each label needs to be judged: an image where it is present and one where it is absent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medprior.cohort.columns import SPLITS

LARGE_SPLIT_GROUPS = 100  # a split of so many groups stays as the hash made it
PRESENT_FROM = 0.5

Outcome = tuple[int, bool]
"""Number of a label, and whether it is present."""
Outcomes = Mapping[int, frozenset[Outcome]]
"""Group -> the outcomes of its images."""


def collect_outcomes(groups: Sequence[int], labels: NDArray[np.float64]) -> Outcomes:
    """The outcomes of every group.

    Args:
        groups: group of each image.
        labels: [n, L], one row per image; NaN for unknown.
    """
    outcomes: dict[int, set[Outcome]] = {}
    for group, row in zip(groups, labels, strict=True):
        known = np.flatnonzero(~np.isnan(row)).tolist()
        outcomes.setdefault(group, set()).update((label, bool(row[label] >= PRESENT_FROM)) for label in known)
    return {group: frozenset(values) for group, values in outcomes.items()}


def stratify_small_splits(
    split_by_group: dict[int, str],
    positions: Mapping[int, float],
    fractions: tuple[float, float, float],
    groups: Sequence[int],
    labels: NDArray[np.float64],
) -> None:
    """Swap groups, in place, until no small split lacks an outcome that another could spare.

    A split of fewer than 100 groups without an outcome gets the group with it whose position is nearest, from a split
    that keeps another one, in exchange for a group that it can spare. Sizes stay the same (our choice). Where no such
    exchange is possible the outcome stays missing.

    Args:
        split_by_group: split of every group.
        positions: in [0, 1), of the groups that may move.
        fractions: shares of `positions` of train, val and test; splits of share 0 take and give none.
        groups: group of each image.
        labels: [n, L], one row per image; NaN for unknown.
    """
    sizes = Counter(split_by_group.values())
    counts = {name: Counter[Outcome]() for name in SPLITS}
    small = [name for name, share in zip(SPLITS, fractions, strict=True) if share and sizes[name] < LARGE_SPLIT_GROUPS]
    if not small:
        return
    outcomes = collect_outcomes(groups, labels)
    for group, name in split_by_group.items():
        counts[name].update(outcomes[group])
    every_outcome = sorted(set().union(*outcomes.values()))
    for name in small:
        for outcome in every_outcome:
            if counts[name][outcome]:
                continue
            swap = find_swap(name, outcome, split_by_group, positions, fractions, outcomes, counts)
            if swap is not None:
                swap_groups(*swap, split_by_group, outcomes, counts)


def find_swap(
    name: str, outcome: Outcome, split_by_group: Mapping[int, str], positions: Mapping[int, float],
    fractions: tuple[float, float, float], outcomes: Outcomes, counts: Mapping[str, Counter[Outcome]],
) -> tuple[int, int] | None:  # fmt: skip
    """The group with `outcome` to take into the split `name`, and the one to give for it; None where there is none."""
    donors = {other for other, share in zip(SPLITS, fractions, strict=True) if share and counts[other][outcome] > 1}
    incoming_groups = [g for g in positions if outcome in outcomes[g] and split_by_group[g] in donors]
    for incoming in sort_by_distance(incoming_groups, name, positions, fractions):
        source = split_by_group[incoming]
        outgoing_groups = [g for g in positions if split_by_group[g] == name]
        for outgoing in sort_by_distance(outgoing_groups, source, positions, fractions):
            lost, moved = outcomes[outgoing] - outcomes[incoming], outcomes[incoming] - outcomes[outgoing]
            if all(counts[name][o] > 1 for o in lost) and all(counts[source][o] > 1 for o in moved):
                return incoming, outgoing
    return None


def sort_by_distance(
    groups: Sequence[int], name: str, positions: Mapping[int, float], fractions: tuple[float, float, float]
) -> list[int]:
    """The groups, those nearest to the interval of the split `name` first."""
    high = float(np.cumsum(fractions)[SPLITS.index(name)])
    low = high - fractions[SPLITS.index(name)]
    return sorted(groups, key=lambda g: (max(low - positions[g], positions[g] - high), positions[g]))


def swap_groups(
    first: int, second: int, split_by_group: dict[int, str], outcomes: Outcomes, counts: Mapping[str, Counter[Outcome]]
) -> None:
    """Exchange the splits of two groups, in place, and count their outcomes there."""
    for group, other in ((first, second), (second, first)):
        counts[split_by_group[group]].subtract(outcomes[group])
        counts[split_by_group[other]].update(outcomes[group])
    split_by_group[first], split_by_group[second] = split_by_group[second], split_by_group[first]
