"""Pseudo-masks from a prior's maps in place of annotated masks: segmentation from one mask.

The transferred maps are thresholded at one half, as in `medprior.priors`; the weight of an image is
its trust in the prior (1, 0.5 where its maps are doubtful, 0 where they failed). Annotated images of
the prior, or those whose masks `masks` and `mask_images` allow, keep the cohort's masks. All of this
is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.finetune.data.dataset import LabelledImages, build_completed_mask_dataset, require_source_size
from medprior.finetune.data.few_masks import select_mask_images
from medprior.finetune.data.targets import select_patient_share
from medprior.finetune.settings import FinetuneSettings
from medprior.priors import SpatialPrior
from medprior.priors.quality import select_maps_by_structure

CHUNK_IMAGES = 64


def choose_prior_structures(prior: SpatialPrior, requested: Sequence[str] | None) -> tuple[str, ...]:
    """The structures to learn: those of `requested`, by default all of the prior.

    Raises:
        InputMissing: the prior has no map of a structure of `requested`.
    """
    names = tuple(requested) if requested else prior.names
    missing = [name for name in names if name not in select_maps_by_structure(prior.maps, prior.names, names)]
    if missing:
        raise InputMissing(
            f"the prior has no map of {', '.join(missing)}", where="--prior",
            expected=", ".join(prior.names), fix="name structures the prior has",
        )  # fmt: skip
    return names


def threshold_prior_maps(
    prior: SpatialPrior, image_ids: Sequence[str], names: tuple[str, ...], size: int
) -> NDArray[np.uint8]:
    """Masks of map values of at least one half: uint8 [n, K, size, size], 0 or 255."""
    masks = np.empty((len(image_ids), len(names), size, size), dtype=np.uint8)
    for start in range(0, len(image_ids), CHUNK_IMAGES):
        part = slice(start, start + CHUNK_IMAGES)
        layers = select_maps_by_structure(prior.batch(image_ids[part]), prior.names, names)
        maps = torch.from_numpy(np.stack([layers[name] for name in names], axis=1))
        resized = F.interpolate(maps, size=(size, size), mode="bilinear", antialias=True)
        masks[part] = np.where(resized.numpy() >= 0.5, 255, 0)
    return masks


def build_pseudo_mask_dataset(
    cohort: Cohort,
    names: tuple[str, ...],
    settings: FinetuneSettings,
    prior: SpatialPrior,
    annotated_ids: frozenset[str] = frozenset(),
    min_trust: float = 0.0,
) -> LabelledImages:
    """Images with pseudo-masks, weighted by trust.

    Args:
        cohort: the images.
        names: structures to learn.
        settings: resolved.
        prior: of the cohort.
        annotated_ids: images whose masks may be used; a structure without a mask takes its map.
        min_trust: images whose maps have less trust than this, or none, are dropped.
    """
    trust = np.array([1.0 if i in annotated_ids else prior.trust(i) for i in cohort.image_ids])
    keep = np.flatnonzero((trust > 0) & (trust >= min_trust))
    part, size = cohort.select([cohort.image_ids[i] for i in keep]), require_source_size(settings)
    coverage = threshold_prior_maps(prior, part.image_ids, names, size)
    return build_completed_mask_dataset(part, names, coverage, annotated_ids, trust[keep])


def build_pseudo_mask_splits(
    cohort: Cohort, settings: FinetuneSettings, prior: SpatialPrior
) -> tuple[LabelledImages, LabelledImages]:
    """Training and validation images with pseudo-masks; no validation mask is read.

    Validation uses the images of trust 1.

    Raises:
        InputMissing: the prior has no map of a structure, or none of these images.
    """
    names = choose_prior_structures(prior, settings.structures)
    train = select_patient_share(cohort.split("train"), settings.fraction, settings.seed)
    annotated = prior.excluded
    if settings.limits_masks:
        annotated = frozenset(select_mask_images(train, names, settings).image_ids)
    datasets = (
        build_pseudo_mask_dataset(train, names, settings, prior, annotated),
        build_pseudo_mask_dataset(cohort.split("val"), names, settings, prior, min_trust=1.0),
    )
    for data, split in zip(datasets, ("train", "val"), strict=True):
        if not len(data):
            raise InputMissing(
                f"the prior has no trusted map of an image of split {split!r}", where="--prior",
                expected="a prior of this cohort", fix="run `medprior prior` on this cohort",
            )  # fmt: skip
    return datasets
