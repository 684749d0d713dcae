"""The most typical image of a cohort: the one worth annotating."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.errors import InputMissing

SQUARE_SIZE_PX = 32
MAX_COMPARED_IMAGES = 2000


def rank_pixels(squares: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pixel ranks of pictures [n, s, s], centred, of length 1: float64 [n, s * s].

    Exposure does not count; products of two rows are correlations.
    """
    flat = squares.reshape(len(squares), -1)
    order = flat.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable").astype(np.float64)
    order -= order.mean(axis=1, keepdims=True)
    return np.asarray(order / np.linalg.norm(order, axis=1, keepdims=True), dtype=np.float64)


def rank_by_typicality(cohort: Cohort) -> NDArray[np.intp]:
    """Indices of the cohort's images, the most typical first.

    The first is the medoid by mean correlation with the others (our choice).
    """
    return sort_by_typicality(rank_pixels(np.asarray(cohort.squares(SQUARE_SIZE_PX))))


def sort_by_typicality(pictures: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows of `levelled` pictures [n, d], the most typical first."""
    # The mean over all pairs needs no n x n matrix: it is the product with the mean picture.
    closeness = pictures @ pictures.mean(axis=0)
    return np.argsort(-closeness, kind="stable")


def select_typical_images(cohort: Cohort, count: int) -> tuple[str, ...]:
    """`image_id` of the `count` most typical training images, each of another patient."""
    train = cohort.split("train")
    order = train.manifest.iloc[rank_by_typicality(train)]
    return tuple(order[~order.patient_id.duplicated()].image_id.head(count))


def select_medoids(cohort: Cohort, count: int, seed: int = 0) -> tuple[str, ...]:
    """`image_id` of up to `count` training images that differ and stand for many others.

    The first is the most typical one; each further one is that which, together with those before,
    comes closest to all images (greedy facility location; Cornuejols, Fisher and Nemhauser 1977).
    At most 2000 images are compared, drawn with `seed`; one image per patient is shown.
    """
    train = cohort.split("train")
    first = train.image_ids[int(rank_by_typicality(train)[0])]
    part = train.take(MAX_COMPARED_IMAGES, seed)
    if first not in part.image_ids:
        part = train.select([first, *part.image_ids])
    order = rank_pixels(np.asarray(part.squares(SQUARE_SIZE_PX)))
    alike = order @ order.T
    chosen = [part.image_ids.index(first)]
    free = part.patient_ids != part.patient_ids[chosen[0]]
    nearest = alike[chosen[0]]
    while len(chosen) < count and free.any():
        gain = np.maximum(alike - nearest, 0).sum(axis=1)
        best = int(np.where(free, gain, -1.0).argmax())
        chosen.append(best)
        free &= part.patient_ids != part.patient_ids[best]
        nearest = np.maximum(nearest, alike[best])
    return tuple(part.image_ids[index] for index in chosen)


def select_varied_images(cohort: Cohort, count: int, without: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """`image_id` of up to `count` training images of other patients, typical to untypical.

    Args:
        cohort: where to look.
        count: how many.
        without: image ids whose patients are left out.
    """
    train = cohort.split("train")
    manifest = cohort.manifest
    known = manifest.patient_id[manifest.image_id.isin(sorted(without))]
    order = train.manifest.iloc[rank_by_typicality(train)]
    order = order[~order.patient_id.isin(known) & ~order.patient_id.duplicated()]
    at = np.unique(np.linspace(0, max(0, len(order) - 1), count).round().astype(int))
    return tuple(order.image_id.iloc[at]) if len(order) else ()


def find_typical_annotated(cohort: Cohort) -> str:
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
    order = rank_by_typicality(train)
    best = order[drawn[order] == drawn.max()][0]
    return train.image_ids[int(best)]
