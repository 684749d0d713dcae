"""Rank the images of a cohort by typicality, to select images for annotation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.errors import InputMissing

SQUARE_SIZE_PX = 32
MAX_COMPARED_IMAGES = 2000


def rank_pixels(squares: NDArray[np.float32]) -> NDArray[np.float64]:
    """Centred pixel ranks of images [n, s, s] with unit norm: float64 [n, s * s].

    Ranks do not depend on exposure; the product of two rows is a rank correlation.
    """
    flat = squares.reshape(len(squares), -1)
    ranks = flat.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable").astype(np.float64)
    ranks -= ranks.mean(axis=1, keepdims=True)
    return np.asarray(ranks / np.linalg.norm(ranks, axis=1, keepdims=True), dtype=np.float64)


def rank_by_typicality(cohort: Cohort) -> NDArray[np.intp]:
    """Indices of the images of a cohort, the most typical first.

    The first is the medoid by mean rank correlation with the others (our choice).
    """
    return sort_by_typicality(rank_pixels(np.asarray(cohort.squares(SQUARE_SIZE_PX))))


def sort_by_typicality(ranks: NDArray[np.float64]) -> NDArray[np.intp]:
    """Row indices of the result of `rank_pixels` [n, d], the most typical first."""
    # The mean correlation with all images is the product with the mean row, without an n x n matrix.
    mean_correlation = ranks @ ranks.mean(axis=0)
    return np.argsort(-mean_correlation, kind="stable")


def select_typical_images(cohort: Cohort, count: int) -> tuple[str, ...]:
    """`image_id` of the `count` most typical training images, one per patient."""
    train = cohort.split("train")
    order = train.manifest.iloc[rank_by_typicality(train)]
    return tuple(order[~order.patient_id.duplicated()].image_id.head(count))


def select_medoids(cohort: Cohort, count: int, seed: int = 0) -> tuple[str, ...]:
    """`image_id` of up to `count` representative training images, one per patient.

    The first is the most typical one; each further one maximises the similarity of all images to
    their nearest selected image (greedy facility location; Cornuejols, Fisher and Nemhauser 1977).
    At most 2000 images are compared, sampled with `seed`.
    """
    train = cohort.split("train")
    first = train.image_ids[int(rank_by_typicality(train)[0])]
    sample = train.take(MAX_COMPARED_IMAGES, seed)
    if first not in sample.image_ids:
        sample = train.select([first, *sample.image_ids])
    ranks = rank_pixels(np.asarray(sample.squares(SQUARE_SIZE_PX)))
    correlations = ranks @ ranks.T
    selected = [sample.image_ids.index(first)]
    is_eligible = sample.patient_ids != sample.patient_ids[selected[0]]
    best_correlation = correlations[selected[0]]
    while len(selected) < count and is_eligible.any():
        gain = np.maximum(correlations - best_correlation, 0).sum(axis=1)
        best = int(np.where(is_eligible, gain, -1.0).argmax())
        selected.append(best)
        is_eligible &= sample.patient_ids != sample.patient_ids[best]
        best_correlation = np.maximum(best_correlation, correlations[best])
    return tuple(sample.image_ids[index] for index in selected)


def select_varied_images(cohort: Cohort, count: int, without: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """`image_id` of up to `count` training images of other patients, typical to untypical.

    Args:
        cohort: the cohort.
        count: largest number of images.
        without: image ids whose patients are left out.
    """
    train = cohort.split("train")
    manifest = cohort.manifest
    excluded_patients = manifest.patient_id[manifest.image_id.isin(sorted(without))]
    order = train.manifest.iloc[rank_by_typicality(train)]
    order = order[~order.patient_id.isin(excluded_patients) & ~order.patient_id.duplicated()]
    positions = np.unique(np.linspace(0, max(0, len(order) - 1), count).round().astype(int))
    return tuple(order.image_id.iloc[positions]) if len(order) else ()


def find_typical_annotated(cohort: Cohort) -> str:
    """`image_id` of the most typical training image among those with the most masks.

    Raises:
        InputMissing: no training image has a mask.
    """
    train = cohort.split("train")
    structures = [name for name in cohort.structures if name not in cohort.label_names]
    mask_counts = np.zeros(len(train), dtype=np.int64)
    for name in structures:
        mask_counts += train.manifest[f"mask_{name}"].notna().to_numpy()
    if not mask_counts.any():
        raise InputMissing(
            "no training image of the cohort has a mask",
            where=cohort.path.name,
            fix="annotate a file instead: --image PATH --mask left_lung=PATH ...",
        )
    order = rank_by_typicality(train)
    best = order[mask_counts[order] == mask_counts.max()][0]
    return train.image_ids[int(best)]
