"""Intermediate examples: images that receive the annotation first and transfer it to all others."""

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
    """Rows of representative images: the nearest ones to the centres of k-means.

    Shape:
        squares: float32 [n, 32, 32], compared by pixel ranks.
    """
    from sklearn.cluster import KMeans

    flat = squares.reshape(len(squares), -1)
    ranks = flat.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") / flat.shape[1]
    kmeans = KMeans(min(count, len(ranks)), random_state=seed, n_init=4)  # type: ignore[no-untyped-call]
    kmeans.fit(ranks)
    distance = np.linalg.norm(ranks[None] - kmeans.cluster_centers_[:, None], axis=2)
    return sorted({int(row) for row in distance.argmin(axis=1)})


def add_intermediate_examples(cohort: Cohort, transfer: LabelTransfer) -> tuple[LabelTransfer, tuple[str, ...]]:
    """`transfer` with intermediate training images as further examples, and their ids.

    Only images whose deformable registration succeeds are added. Registration errors differ from
    pair to pair, so several examples are better than one (our choice).
    """
    settings = transfer.settings
    train = cohort.split("train").take(MAX_TRAINING_IMAGES, settings.seed)
    rows = select_diverse_rows(np.asarray(train.squares(CLUSTERING_SIZE_PX)), settings.stones, settings.seed)
    part = train.select([train.image_ids[row] for row in rows])
    examples, image_ids = list(transfer.examples), []
    squares = part.squares(settings.registration.size)
    for image_id, square in zip(part.image_ids, squares, strict=True):
        picture = np.asarray(square, dtype=np.float32)
        maps, registrations, _ = transfer.transfer_labels(picture, transfer.examples)
        if any(registration.status == "deformable" for registration in registrations):
            examples.append(Example(picture, maps))
            image_ids.append(image_id)
    return replace(transfer, examples=tuple(examples)), tuple(image_ids)
