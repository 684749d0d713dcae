"""Images whose maps may be wrong, told without any label, and the image most worth drawing next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort import Cohort

# Left over right lung's area and heart over thorax width of 383 drawn chests, mean -+ 4 SD.
LUNG_RATIO = (0.4, 1.35)
HEART_RATIO = (0.23, 0.77)
DISAGREE = 0.15
SIZE = 32
OFFERED = 3


def reasons(record: dict[str, Any], maps: NDArray[np.float32], names: tuple[str, ...]) -> list[str]:
    """Why the maps of one image are doubtful; empty where nothing speaks against them.

    Args:
        record: what its registration gave: `trust` and `disagreement`.
        maps: float32 [K, s, s] in [0, 1].
        names: structure of each map.
    """
    found = []
    if record["trust"] < 1:
        found.append("registration")
    if record["disagreement"] > DISAGREE:
        found.append("disagreement")
    masks = {name: layer >= 0.5 for name, layer in zip(names, maps, strict=True)}
    if any(not mask.any() for mask in masks.values()):
        return [*found, "empty"]
    if {"left_lung", "right_lung"} <= set(masks):
        left, right = masks["left_lung"], masks["right_lung"]
        if not LUNG_RATIO[0] <= left.sum() / right.sum() <= LUNG_RATIO[1]:
            found.append("lung_ratio")
        if "heart" in masks:
            wide = width(left | right)
            if not HEART_RATIO[0] <= width(masks["heart"]) / wide <= HEART_RATIO[1]:
                found.append("heart_ratio")
    return found


def width(mask: NDArray[np.bool_]) -> int:
    """Columns from the first to the last that a mask reaches."""
    columns = np.flatnonzero(mask.any(axis=0))
    return int(columns[-1] - columns[0] + 1)


def ranked(squares: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pixel ranks of pictures [n, s, s] as unit vectors [n, s * s]: exposure does not count."""
    flat = squares.reshape(len(squares), -1)
    order = flat.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable").astype(np.float64)
    order -= order.mean(axis=1, keepdims=True)
    return np.asarray(order / np.linalg.norm(order, axis=1, keepdims=True))


def next_examples(
    cohort: Cohort, annotated: NDArray[np.float32], table: pd.DataFrame, seed: int
) -> list[dict[str, Any]]:
    """Training images whose drawing would help the most others.

    An image helps another one by as much as it is more like it than every annotated image is,
    counted double where the other's maps are doubtful (facility location; our choice).

    Args:
        cohort: the cohort; at most 2 000 training images are looked at.
        annotated: float32 [a, 32, 32], the annotated pictures.
        table: `SpatialPrior.table` with `doubt`.
        seed: of the images looked at.

    Returns:
        Up to three of {"image_id", "nearer": images that would have a nearer example, "of"}.
    """
    train = cohort.split("train").take(2000, seed)
    if len(train) < 2:
        return []
    pictures = ranked(np.asarray(train.squares(SIZE)))
    best = (pictures @ ranked(annotated).T).max(axis=1)
    doubtful = dict(zip(table.image_id, table.doubt.astype(bool), strict=True))
    weight = np.array([2.0 if doubtful.get(image_id) else 1.0 for image_id in train.image_ids])
    alike = pictures @ pictures.T
    offers: list[dict[str, Any]] = []
    for _ in range(min(OFFERED, len(train))):
        gain = np.maximum(alike - best[:, None], 0)
        chosen = int((weight[:, None] * gain).sum(axis=0).argmax())
        nearer = int((gain[:, chosen] > 0).sum())
        if not nearer:
            break
        offers.append({"image_id": train.image_ids[chosen], "nearer": nearer, "of": len(train)})
        best = np.maximum(best, alike[:, chosen])
    return offers
