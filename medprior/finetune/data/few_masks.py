"""Which masks of the training split may be used, where a setting says that few are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.finetune.data.targets import sort_patients_by_hash
from medprior.finetune.settings import FinetuneSettings


def select_mask_images(train: Cohort, names: Sequence[str], settings: FinetuneSettings) -> Cohort:
    """The training images whose masks may be used.

    With `masks=k` those of the first k patients that have any, in the order that `fraction` takes
    patients in; with `mask_images` the images named.

    Args:
        train: the training images.
        names: structures to learn.
        settings: with `masks` or `mask_images`.

    Raises:
        InputMissing: fewer patients with masks than asked for, or an image that is not in training.
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
    columns = [f"mask_{name}" for name in names if f"mask_{name}" in train.manifest.columns]
    drawn = train.manifest[columns].notna().any(axis=1).to_numpy()
    patients = sort_patients_by_hash(train.patient_ids[drawn].tolist(), settings.seed)
    if len(patients) < settings.masks:
        raise InputMissing(
            "fewer training patients with masks than asked for", where="masks",
            expected=str(settings.masks), found=str(len(patients)), fix="set masks lower",
        )  # fmt: skip
    chosen = np.isin(train.patient_ids, patients[: settings.masks]) & drawn
    return train.select([train.image_ids[i] for i in np.flatnonzero(chosen)])
