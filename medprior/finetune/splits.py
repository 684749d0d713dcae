"""Training and validation images of a fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.finetune.dataset import LabelledImages, labelled, masked
from medprior.finetune.few_masks import allowed
from medprior.finetune.pseudo_masks import pseudo_datasets
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.targets import (
    chosen_labels,
    chosen_structures,
    part_of_patients,
)

if TYPE_CHECKING:
    from medprior.priors import SpatialPrior


def datasets(
    cohort: Cohort, settings: FinetuneSettings, prior: SpatialPrior | None = None
) -> tuple[LabelledImages, LabelledImages]:
    """Training images (the wanted share of the patients) and validation images.

    Where few masks are known, the second is the first: no mask is left to validate on.

    Raises:
        InputMissing: a split is empty, or nothing is known in it; unknown label or structure.
    """
    if settings.targets == "prior":
        assert prior is not None
        return pseudo_datasets(cohort, settings, prior)
    classify = settings.task == "classification"
    if classify:
        names, build = chosen_labels(cohort, settings.labels), labelled
    else:
        names, build = chosen_structures(cohort, settings.structures), masked
    train = part_of_patients(cohort.split("train"), settings.fraction, settings.seed)
    if settings.few_masks:
        few = masked(allowed(train, names, settings), names, settings)
        found = few, few
    else:
        found = build(train, names, settings), build(cohort.split("val"), names, settings)
    for data, split in zip(found, ("train", "val"), strict=True):
        if not len(data):
            raise InputMissing(
                f"no image of split {split!r} has a known {'label' if classify else 'mask'}",
                where=cohort.path.name,
                expected=f"some of {', '.join(names)}",
                fix="name other labels or structures, or ingest with another split seed",
            )
    return found
