"""Finds images with doubtful maps without labels, and suggests the next images to annotate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.annotate.typicality import SQUARE_SIZE_PX, rank_pixels, sort_by_typicality
from medprior.cohort import Cohort

# Left over right lung's area and heart over thorax width of 383 annotated chests, mean -+ 4 SD.
LUNG_AREA_RATIO_RANGE = (0.4, 1.35)
HEART_WIDTH_RATIO_RANGE = (0.23, 0.77)
MAX_DISAGREEMENT = 0.15
MAX_OFFERED_IMAGES = 3
# The most typical images, of which the next example is one.
TYPICAL_FRACTION, MIN_TYPICAL_IMAGES = 0.15, 24
IDENTICAL_CORRELATION = 1 - 1e-6


def list_doubt_reasons(record: dict[str, Any], maps: NDArray[np.float32], names: tuple[str, ...]) -> list[str]:
    """Reasons why the maps of one image are doubtful; empty where there is none.

    Args:
        record: of its registration, with `trust` and `disagreement`.
        maps: float32 [K, s, s] in [0, 1].
        names: structure of each map.
    """
    reasons = []
    if record["trust"] < 1:
        reasons.append("registration")
    if record["disagreement"] > MAX_DISAGREEMENT:
        reasons.append("disagreement")
    masks = {name: layer >= 0.5 for name, layer in zip(names, maps, strict=True)}
    if any(not mask.any() for mask in masks.values()):
        return [*reasons, "empty"]
    if {"left_lung", "right_lung"} <= set(masks):
        left, right = masks["left_lung"], masks["right_lung"]
        if not LUNG_AREA_RATIO_RANGE[0] <= left.sum() / right.sum() <= LUNG_AREA_RATIO_RANGE[1]:
            reasons.append("lung_ratio")
        if "heart" in masks:
            thorax = measure_mask_width(left | right)
            if (
                not HEART_WIDTH_RATIO_RANGE[0]
                <= measure_mask_width(masks["heart"]) / thorax
                <= HEART_WIDTH_RATIO_RANGE[1]
            ):
                reasons.append("heart_ratio")
    return reasons


def measure_mask_width(mask: NDArray[np.bool_]) -> int:
    """Number of columns from the first to the last of a mask."""
    columns = np.flatnonzero(mask.any(axis=0))
    return int(columns[-1] - columns[0] + 1)


def suggest_next_examples(
    cohort: Cohort, annotated: NDArray[np.float32], table: pd.DataFrame, seed: int
) -> list[dict[str, Any]]:
    """Training images worth annotating next: typical ones that are unlike the annotated images.

    Of the most typical 15 % (at least 24) of the training images each choice is the one that is
    least similar to every annotated image and every earlier choice (farthest-point traversal;
    Gonzalez 1985). Similarity is the correlation of pixel ranks on 32 x 32 squares, by which
    `medprior annotate` chooses the first image. Untypical images are left out: they are the
    farthest, but few other images resemble them. All of this is our choice.

    Args:
        cohort: the cohort; at most 2 000 training images are compared.
        annotated: float32 [a, 32, 32], the annotated pictures.
        table: `SpatialPrior.table` with `doubt`.
        seed: of the sample of training images.

    Returns:
        Up to three of {"image_id", "alike": correlation with the nearest example, "nearer": images
        that would have a nearer example, "doubtful": how many of these are doubtful now, "of": number
        of training images compared}.
    """
    train = cohort.split("train").take(2000, seed)
    if len(train) < 2:
        return []
    pictures = rank_pixels(np.asarray(train.squares(SQUARE_SIZE_PX)))
    similarity = pictures @ pictures.T
    best = (pictures @ rank_pixels(annotated).T).max(axis=1)
    doubts = dict(zip(table.image_id, table.doubt.astype(bool), strict=True))
    doubtful = np.array([bool(doubts.get(image_id)) for image_id in train.image_ids])
    typical = sort_by_typicality(pictures)[: max(MIN_TYPICAL_IMAGES, round(TYPICAL_FRACTION * len(train)))]
    offers: list[dict[str, Any]] = []
    while len(offers) < MAX_OFFERED_IMAGES:
        chosen = int(typical[best[typical].argmin()])
        if best[chosen] > IDENTICAL_CORRELATION:
            break
        nearer = similarity[:, chosen] > best
        offers.append(
            {
                "image_id": train.image_ids[chosen],
                "alike": round(float(best[chosen]), 3),
                "nearer": int(nearer.sum()),
                "doubtful": int((nearer & doubtful).sum()),
                "of": len(train),
            }
        )
        best = np.maximum(best, similarity[:, chosen])
    return offers
