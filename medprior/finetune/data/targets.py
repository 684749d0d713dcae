"""Targets of fine-tuning: labels, structures, shares of patients, uncertain values, class weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medprior.errors import ConfigError, InputMissing
from medprior.finetune.settings import UncertainPolicy

if TYPE_CHECKING:
    from medprior.cohort import Cohort

DEFAULT_STRUCTURES = ("left_lung", "right_lung", "heart")


def select_patient_share(cohort: Cohort, fraction: float, seed: int) -> Cohort:
    """The images of a share of the patients.

    Patients are ordered by a keyed hash, so that a smaller share is a subset of a larger one and
    additional patients do not change the order of the others.
    """
    if fraction >= 1:
        return cohort
    patients = sort_patients_by_hash(cohort.patient_ids.tolist(), seed)
    share = set(patients[: max(1, math.ceil(fraction * len(patients)))])
    ids = zip(cohort.image_ids, cohort.patient_ids.tolist(), strict=True)
    return cohort.select([image_id for image_id, patient in ids if patient in share])


def sort_patients_by_hash(patients: Iterable[str], seed: int) -> list[str]:
    """The distinct patients in the order of a keyed hash."""
    return sorted(
        set(patients),
        key=lambda patient: hashlib.sha256(f"{seed}/{patient}".encode()).digest(),
    )


def resolve_uncertain_labels(labels: NDArray[np.float32], policy: UncertainPolicy) -> NDArray[np.float32]:
    """Labels with uncertain values (strictly between 0 and 1) replaced by `policy`.

    Args:
        labels: float32 [n, C] in [0, 1], NaN unknown.
        policy: `ignore` makes them unknown, `ones` 1, `zeros` 0; `soft` keeps them.

    Raises:
        ConfigError: values outside [0, 1].
    """
    if ((labels < 0) | (labels > 1)).any():
        raise ConfigError(
            "labels outside [0, 1]",
            where="cohort labels",
            expected="0, 1, in between for uncertain, NaN for unknown",
            found=f"{np.nanmin(labels):g} to {np.nanmax(labels):g}",
            fix="ingest with a descriptor that maps the source's values",
        )
    if policy == "soft":
        return labels
    value = {"ignore": np.nan, "ones": 1.0, "zeros": 0.0}[policy]
    uncertain = (labels > 0) & (labels < 1)
    return np.where(uncertain, np.float32(value), labels)


def choose_labels(cohort: Cohort, requested: Sequence[str] | None) -> tuple[str, ...]:
    """The labels to learn.

    Raises:
        InputMissing: the cohort has no labels, or lacks one of `requested`.
    """
    names = tuple(requested) if requested else cohort.label_names
    cohort.labels(names)
    if not names:
        raise InputMissing(
            "the cohort has no labels",
            where=cohort.path.name,
            fix="ingest with a descriptor that names a label table",
        )
    return names


def choose_structures(cohort: Cohort, requested: Sequence[str] | None) -> tuple[str, ...]:
    """The structures to segment: those of `requested`, by default lungs and heart if they have masks.

    Raises:
        InputMissing: the cohort has no masks, or none of a structure of `requested`.
    """
    available = cohort.structures
    missing = sorted(set(requested or ()) - set(available))
    if missing or not available:
        raise InputMissing(
            f"no masks of {', '.join(missing) or 'any structure'}",
            where=cohort.path.name,
            expected=", ".join(available) or "mask_<structure> columns",
            fix="ingest masks with the images, or name structures the cohort has",
        )
    if requested:
        return tuple(requested)
    defaults = tuple(name for name in DEFAULT_STRUCTURES if name in available)
    if "lungs" in available and not {"left_lung", "right_lung"} & set(defaults):
        defaults = ("lungs", *defaults)
    return defaults or available


def compute_positive_weights(labels: NDArray[np.float32], limit: float = 10.0) -> NDArray[np.float32]:
    """Negatives over positives per label, clipped to [1 / `limit`, `limit`]; 1 if a class is absent.

    Shape:
        labels: float32 [n, C], NaN unknown; the result is float32 [C].
    """
    positive = np.nansum(labels, axis=0)
    negative = np.nansum(1 - labels, axis=0)
    both = (positive > 0) & (negative > 0)
    ratio = np.where(both, negative / np.maximum(positive, 1e-6), 1.0)
    return np.clip(ratio, 1 / limit, limit).astype(np.float32)
