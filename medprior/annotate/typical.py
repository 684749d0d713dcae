"""The most typical image of a cohort: the one worth annotating."""

from __future__ import annotations

import numpy as np

from medprior.cohort import Cohort
from medprior.errors import InputMissing

SIZE = 32


def ranks(cohort: Cohort) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Indices of the cohort's images, the most typical first.

    Pictures are compared as pixel ranks on 32 x 32 squares, so that exposure does not count; the
    first is the medoid by mean correlation with the others (our choice).
    """
    flat = np.asarray(cohort.squares(SIZE)).reshape(len(cohort), -1)
    order = flat.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable").astype(np.float64)
    order -= order.mean(axis=1, keepdims=True)
    order /= np.linalg.norm(order, axis=1, keepdims=True)
    # The mean over all pairs needs no n x n matrix: it is the product with the mean picture.
    closeness = order @ order.mean(axis=0)
    return np.argsort(-closeness, kind="stable")


def typical_images(cohort: Cohort, count: int) -> tuple[str, ...]:
    """`image_id` of the `count` most typical training images, each of another patient."""
    train = cohort.split("train")
    order = train.manifest.iloc[ranks(train)]
    return tuple(order[~order.patient_id.duplicated()].image_id.head(count))


def most_typical(cohort: Cohort) -> str:
    """`image_id` of the most typical training image that has the most structures drawn.

    Raises:
        InputMissing: no training image has a mask.
    """
    train = cohort.split("train")
    names = [name for name in cohort.structures if name not in cohort.label_names]
    drawn = np.zeros(len(train), dtype=np.int64)
    for name in names:
        drawn += train.manifest[f"mask_{name}"].notna().to_numpy()
    if not drawn.any():
        raise InputMissing(
            "no training image of the cohort has a mask",
            where=cohort.path.name,
            fix="annotate a file instead: --image PATH --mask left_lung=PATH ...",
        )
    order = ranks(train)
    best = order[drawn[order] == drawn.max()][0]
    return train.image_ids[int(best)]
