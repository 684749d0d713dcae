"""Assigns sides to two masks that are both named lung, by their positions in the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
# A lung is 0.44 as wide as both together, which are 0.78 (0.64 to 0.93) of a picture's width
# (383 annotated chests): the centres of two lungs are 0.3 to 0.5 of the width apart.
MIN_CENTRE_DISTANCE, MAX_LUNG_OVERLAP = 0.15, 0.05
LUNGS_NAME, SIDED_LUNGS = "lungs", {"left_lung", "right_lung"}
PREVIEW_HINT = "look at preview.png"


def assign_lung_sides(parts: Sequence[tuple[str, Mask]]) -> tuple[dict[str, Mask], tuple[str, ...]]:
    """Merge masks of equal names, or assign sides to two lungs without one; mask names are unique after.

    Two masks named lung or lungs are the two lungs if they hardly overlap and the columns of their
    centres are at least 15 % of the picture's width apart: the one on the picture's left is the
    patient's right lung, as in frontal display. If a left or right lung is named too, if they are
    not side by side, or if there are more than two, they are parts of one structure and are joined,
    as are all other masks of equal names (our choice).

    Args:
        parts: (name, bool [rows, cols]) of each mask, on the upright picture.

    Returns:
        Masks by name, and warnings about sides assigned and masks joined.
    """
    parts_by_kind: dict[str, list[tuple[str, Mask]]] = {}
    for name, mask in parts:
        kind = LUNGS_NAME if name.strip().lower() in {"lung", LUNGS_NAME} else name
        parts_by_kind.setdefault(kind, []).append((name, mask))
    warnings = []
    merged: dict[str, Mask] = {}
    for kind, group in parts_by_kind.items():
        name, masks = group[0][0], [mask for _, mask in group]
        if kind == LUNGS_NAME and not SIDED_LUNGS & set(parts_by_kind) and is_lung_pair(masks):
            right, left = sorted(masks, key=compute_centre_column)
            merged |= {"right_lung": right, "left_lung": left}
            warnings.append(
                "two drawings are called lung without a side: the one on the picture's left was "
                f"taken as right_lung, the other as left_lung; {PREVIEW_HINT}"
            )
            continue
        merged[name] = np.logical_or.reduce(masks)
        if len(masks) > 1:
            warnings.append(f"{name}: {len(masks)} drawings of this name were joined; {PREVIEW_HINT}")
    return merged, tuple(warnings)


def is_lung_pair(masks: Sequence[Mask]) -> bool:
    """Whether these are two non-empty masks, side by side and hardly overlapping."""
    if len(masks) != 2 or not all(mask.any() for mask in masks):
        return False
    first, second = masks
    overlap = int((first & second).sum()) / min(int(first.sum()), int(second.sum()))
    return (
        overlap <= MAX_LUNG_OVERLAP
        and abs(compute_centre_column(first) - compute_centre_column(second)) >= MIN_CENTRE_DISTANCE
    )


def compute_centre_column(mask: Mask) -> float:
    """Column of a mask's centroid, as a fraction of the width."""
    return float((np.nonzero(mask)[1].mean() + 0.5) / mask.shape[1])
