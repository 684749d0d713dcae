"""Two drawings that are both called lung: which is which, told from where they lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
# A lung is 0.44 as wide as both together, which are 0.78 (0.64 to 0.93) of a picture's width
# (383 drawn chests): the centres of two lungs are 0.3 to 0.5 of the width apart.
MIN_CENTRE_DISTANCE, MAX_LUNG_OVERLAP = 0.15, 0.05
LUNGS_NAME, SIDED_LUNGS = "lungs", {"left_lung", "right_lung"}
PREVIEW_HINT = "look at preview.png"


def assign_lung_sides(parts: Sequence[tuple[str, Mask]]) -> tuple[dict[str, Mask], tuple[str, ...]]:
    """Masks by name, where several may have one name, and warnings about those.

    Two that are called lung or lungs are the two lungs where they hardly overlap and their centres
    are side by side by 15 % of the picture's width: the one on the picture's left is the patient's
    right one, as frontal pictures are shown. Where a left or right lung is named as well, where
    they are not side by side, or where there are more than two, they are parts of one structure
    and are joined, as are all others of one name (our choice).

    Args:
        parts: (name, bool [rows, cols]) of each drawing, upright as the picture is shown.
    """
    named: dict[str, list[tuple[str, Mask]]] = {}
    for name, mask in parts:
        kind = LUNGS_NAME if name.strip().lower() in {"lung", LUNGS_NAME} else name
        named.setdefault(kind, []).append((name, mask))
    warnings = []
    found: dict[str, Mask] = {}
    for kind, drawn in named.items():
        name, masks = drawn[0][0], [mask for _, mask in drawn]
        if kind == LUNGS_NAME and not SIDED_LUNGS & set(named) and is_lung_pair(masks):
            right, left = sorted(masks, key=compute_centre_column)
            found |= {"right_lung": right, "left_lung": left}
            warnings.append(
                "two drawings are called lung without a side: the one on the picture's left was "
                f"taken as right_lung, the other as left_lung; {PREVIEW_HINT}"
            )
            continue
        found[name] = np.logical_or.reduce(masks)
        if len(masks) > 1:
            warnings.append(f"{name}: {len(masks)} drawings of this name were joined; {PREVIEW_HINT}")
    return found, tuple(warnings)


def is_lung_pair(masks: Sequence[Mask]) -> bool:
    """Whether these are two masks, next to each other and apart."""
    if len(masks) != 2 or not all(mask.any() for mask in masks):
        return False
    one, two = masks
    common = int((one & two).sum()) / min(int(one.sum()), int(two.sum()))
    return (
        common <= MAX_LUNG_OVERLAP
        and abs(compute_centre_column(one) - compute_centre_column(two)) >= MIN_CENTRE_DISTANCE
    )


def compute_centre_column(mask: Mask) -> float:
    """Column of a mask's centre, as a share of the width."""
    return float((np.nonzero(mask)[1].mean() + 0.5) / mask.shape[1])
