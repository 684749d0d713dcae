"""Builds the training and validation datasets of a fine-tuning run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.finetune.data.dataset import LabelledImages, build_label_dataset, build_mask_dataset
from medprior.finetune.data.few_masks import select_mask_images
from medprior.finetune.data.pseudo_masks import build_pseudo_mask_splits
from medprior.finetune.data.targets import choose_labels, choose_structures, select_patient_share
from medprior.finetune.settings import FinetuneSettings

if TYPE_CHECKING:
    from medprior.priors import SpatialPrior


def build_train_val_datasets(
    cohort: Cohort, settings: FinetuneSettings, prior: SpatialPrior | None = None, teachers: Sequence[Path] = ()
) -> tuple[LabelledImages, LabelledImages]:
    """Training images (a share of the patients) and validation images.

    With few masks both are the same dataset: no mask is left for validation.

    Raises:
        InputMissing: a split has no known label or mask; unknown label or structure.
    """
    if settings.targets == "prior":
        assert prior is not None
        return build_pseudo_mask_splits(cohort, settings, prior)
    if settings.targets == "teacher":
        from medprior.finetune.data.teacher_masks import build_taught_splits

        return build_taught_splits(cohort, settings, teachers)
    classify = settings.task == "classification"
    if classify:
        names, build = choose_labels(cohort, settings.labels), build_label_dataset
    else:
        names, build = choose_structures(cohort, settings.structures), build_mask_dataset
    train = select_patient_share(cohort.split("train"), settings.fraction, settings.seed)
    if settings.has_few_masks:
        few = build_mask_dataset(select_mask_images(train, names, settings), names, settings)
        datasets = few, few
    else:
        datasets = build(train, names, settings), build(cohort.split("val"), names, settings)
    for data, split in zip(datasets, ("train", "val"), strict=True):
        if not len(data):
            raise InputMissing(
                f"no image of split {split!r} has a known {'label' if classify else 'mask'}",
                where=cohort.path.name,
                expected=f"some of {', '.join(names)}",
                fix="name other labels or structures, or ingest with another split seed",
            )
    return datasets
