"""Images whose maps may be wrong, told without any label, and the image most worth drawing next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.annotate.typicality import SQUARE_SIZE_PX, rank_pixels, sort_by_typicality
from medprior.cohort import Cohort

# Left over right lung's area and heart over thorax width of 383 drawn chests, mean -+ 4 SD.
LUNG_AREA_RATIO_RANGE = (0.4, 1.35)
HEART_WIDTH_RATIO_RANGE = (0.23, 0.77)
MAX_DISAGREEMENT = 0.15
MAX_OFFERED_IMAGES = 3
# The plausible ones among which the next example is looked for.
TYPICAL_FRACTION, MIN_TYPICAL_IMAGES = 0.15, 24
IDENTICAL_CORRELATION = 1 - 1e-6


def list_doubt_reasons(record: dict[str, Any], maps: NDArray[np.float32], names: tuple[str, ...]) -> list[str]:
    """Why the maps of one image are doubtful; empty where nothing speaks against them.

    Args:
        record: what its registration gave: `trust` and `disagreement`.
        maps: float32 [K, s, s] in [0, 1].
        names: structure of each map.
    """
    found = []
    if record["trust"] < 1:
        found.append("registration")
    if record["disagreement"] > MAX_DISAGREEMENT:
        found.append("disagreement")
    masks = {name: layer >= 0.5 for name, layer in zip(names, maps, strict=True)}
    if any(not mask.any() for mask in masks.values()):
        return [*found, "empty"]
    if {"left_lung", "right_lung"} <= set(masks):
        left, right = masks["left_lung"], masks["right_lung"]
        if not LUNG_AREA_RATIO_RANGE[0] <= left.sum() / right.sum() <= LUNG_AREA_RATIO_RANGE[1]:
            found.append("lung_ratio")
        if "heart" in masks:
            wide = measure_mask_width(left | right)
            if (
                not HEART_WIDTH_RATIO_RANGE[0]
                <= measure_mask_width(masks["heart"]) / wide
                <= HEART_WIDTH_RATIO_RANGE[1]
            ):
                found.append("heart_ratio")
    return found


def measure_mask_width(mask: NDArray[np.bool_]) -> int:
    """Columns from the first to the last that a mask reaches."""
    columns = np.flatnonzero(mask.any(axis=0))
    return int(columns[-1] - columns[0] + 1)


def suggest_next_examples(
    cohort: Cohort, annotated: NDArray[np.float32], table: pd.DataFrame, seed: int
) -> list[dict[str, Any]]:
    """Training images whose drawing would teach the most: plausible ones that look different.

    Of the most typical 15 % (at least 24) of the training images each choice is the one that is
    least like every annotated image and every choice before it (farthest-point traversal; Gonzalez
    1985). Looked at are correlations of pixel ranks on 32 x 32 squares, the measure that
    `medprior annotate` chooses the first image by. Untypical images are not offered: they are
    farthest of all, but what is learnt from them helps few others. All of this is our choice.

    Args:
        cohort: the cohort; at most 2 000 training images are looked at.
        annotated: float32 [a, 32, 32], the annotated pictures.
        table: `SpatialPrior.table` with `doubt`.
        seed: of the images looked at.

    Returns:
        Up to three of {"image_id", "alike": correlation with the nearest example, "nearer": images
        that would have a nearer example, "doubtful": how many of these are in doubt now, "of"}.
    """
    train = cohort.split("train").take(2000, seed)
    if len(train) < 2:
        return []
    pictures = rank_pixels(np.asarray(train.squares(SQUARE_SIZE_PX)))
    alike = pictures @ pictures.T
    best = (pictures @ rank_pixels(annotated).T).max(axis=1)
    doubts = dict(zip(table.image_id, table.doubt.astype(bool), strict=True))
    doubtful = np.array([bool(doubts.get(image_id)) for image_id in train.image_ids])
    typical = sort_by_typicality(pictures)[: max(MIN_TYPICAL_IMAGES, round(TYPICAL_FRACTION * len(train)))]
    offers: list[dict[str, Any]] = []
    while len(offers) < MAX_OFFERED_IMAGES:
        chosen = int(typical[best[typical].argmin()])
        if best[chosen] > IDENTICAL_CORRELATION:
            break
        nearer = alike[:, chosen] > best
        offers.append(
            {
                "image_id": train.image_ids[chosen],
                "alike": round(float(best[chosen]), 3),
                "nearer": int(nearer.sum()),
                "doubtful": int((nearer & doubtful).sum()),
                "of": len(train),
            }
        )
        best = np.maximum(best, alike[:, chosen])
    return offers
