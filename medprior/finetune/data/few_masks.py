"""Selects the training masks that `masks` or `mask_images` allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.finetune.data.targets import sort_patients_by_hash
from medprior.finetune.settings import FinetuneSettings


def select_mask_images(train: Cohort, names: Sequence[str], settings: FinetuneSettings) -> Cohort:
    """The training images whose masks may be used.

    With `masks=k` those of the first k patients with masks, in the order of `fraction`; with
    `mask_images` the named images.

    Args:
        train: the training images.
        names: structures to learn.
        settings: with `masks` or `mask_images`.

    Raises:
        InputMissing: fewer patients with masks than requested, or an image outside the training split.
    """
    if settings.mask_images is not None:
        missing = sorted(set(settings.mask_images) - set(train.image_ids))
        if missing:
            raise InputMissing(
                f"{len(missing)} of mask_images not among the training images",
                where=f"mask_images {missing[0]}", fix="name image ids of the train split",
            )  # fmt: skip
        return train.select(tuple(dict.fromkeys(settings.mask_images)))
    assert settings.masks is not None
    annotated = select_annotated_images(train, names)
    patients = sort_patients_by_hash(annotated.patient_ids.tolist(), settings.seed)
    if len(patients) < settings.masks:
        raise InputMissing(
            "fewer training patients with masks than asked for", where="masks",
            expected=str(settings.masks), found=str(len(patients)), fix="set masks lower",
        )  # fmt: skip
    allowed = np.isin(annotated.patient_ids, patients[: settings.masks])
    return annotated.select([annotated.image_ids[i] for i in np.flatnonzero(allowed)])


def select_annotated_images(cohort: Cohort, names: Sequence[str]) -> Cohort:
    """The images with a mask of at least one of the structures."""
    columns = [f"mask_{name}" for name in names if f"mask_{name}" in cohort.manifest.columns]
    annotated = cohort.manifest[columns].notna().any(axis=1).to_numpy()
    return cohort.select([cohort.image_ids[i] for i in np.flatnonzero(annotated)])
