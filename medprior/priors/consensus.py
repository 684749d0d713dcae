"""Stepping stones: images that get the annotation first and then pass it on to all others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.priors.registration import Example
from medprior.priors.transfer import LabelTransfer

CLUSTERING_SIZE_PX = 32
MAX_TRAINING_IMAGES = 2000


def select_diverse_rows(squares: NDArray[np.float32], count: int, seed: int) -> list[int]:
    """Images that stand for the variety of a cohort: nearest to the centres of k-means.

    Shape:
        squares: float32 [n, 32, 32], compared as pixel ranks.
    """
    from sklearn.cluster import KMeans

    flat = squares.reshape(len(squares), -1)
    ranks = flat.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") / flat.shape[1]
    means = KMeans(min(count, len(ranks)), random_state=seed, n_init=4)  # type: ignore[no-untyped-call]
    means.fit(ranks)
    away = np.linalg.norm(ranks[None] - means.cluster_centers_[:, None], axis=2)
    return sorted({int(row) for row in away.argmin(axis=1)})


def add_intermediate_examples(cohort: Cohort, transfer: LabelTransfer) -> tuple[LabelTransfer, tuple[str, ...]]:
    """`transfer` with training images added that carry its examples' structures, and their ids.

    Only images that register well become stones. What a pair of images gets wrong differs from
    pair to pair, so that several ways are better than one (our choice).
    """
    settings = transfer.settings
    train = cohort.split("train").take(MAX_TRAINING_IMAGES, settings.seed)
    rows = select_diverse_rows(np.asarray(train.squares(CLUSTERING_SIZE_PX)), settings.stones, settings.seed)
    part = train.select([train.image_ids[row] for row in rows])
    stones, names = list(transfer.examples), []
    squares = part.squares(settings.registration.size)
    for image_id, square in zip(part.image_ids, squares, strict=True):
        picture = np.asarray(square, dtype=np.float32)
        maps, found, _ = transfer.carried(picture, transfer.examples)
        if any(one.status == "deformable" for one in found):
            stones.append(Example(picture, maps))
            names.append(image_id)
    return replace(transfer, examples=tuple(stones)), tuple(names)
