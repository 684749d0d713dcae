"""Records the training patients of a model, and counts those in the promotion gate's cohort."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.provenance import read_config, result_digest, write_json

TRAINING_PATIENTS_FILE = "training_patients.json"
FINGERPRINT_CHARACTERS = 24


def fingerprint_patient(patient: str) -> str:
    """Fingerprint of a cohort's patient pseudonym in the registry, the same in every record."""
    return hashlib.sha256(f"medprior/patient/{patient}".encode()).hexdigest()[:FINGERPRINT_CHARACTERS]


def write_training_patients(folders: Mapping[str, Path], cohorts: Sequence[Path]) -> None:
    """Write fingerprints of the training and validation patients beside each model.

    Args:
        folders: artifact name -> copy of a model folder for the registry.
        cohorts: the training cohorts; a model trained on none of them gets no record.

    Raises:
        InputMissing: no model was trained on one of the cohorts.
    """
    training_digests = {
        name: (read_config(folder, "finetune").get("inputs") or {}).get("cohort") for name, folder in folders.items()
    }
    for cohort in cohorts:
        digest = result_digest(cohort)
        if digest not in training_digests.values():
            raise InputMissing(
                "the model was trained on another cohort",
                where="--cohort",
                expected=f"digest {', '.join(str(text)[:12] for text in training_digests.values())}",
                found=digest[:12],
                fix="name the cohort that `medprior finetune` read",
            )
        fingerprints = sorted(map(fingerprint_patient, list_training_patients(Cohort.open(cohort))))
        for name, folder in folders.items():
            if training_digests[name] == digest:
                write_json(folder / TRAINING_PATIENTS_FILE, {"cohort": digest, "patients": fingerprints})


def list_training_patients(cohort: Cohort) -> set[str]:
    """Pseudonyms of the patients in the splits train and val."""
    table = cohort.manifest
    return set(table.patient_id[table.split.isin(["train", "val"]).to_numpy()])


def count_training_overlap(folder: Path, cohort: Cohort, patients: Iterable[str]) -> tuple[int | None, str]:
    """Count the `patients` that a packaged model was trained on, and say how that is known.

    Args:
        folder: the packaged model.
        cohort: cohort of the comparison.
        patients: pseudonyms of the patients in the comparison.

    Returns:
        The number, or None if it is not recorded, and an explanation.
    """
    patient_ids = set(patients)
    path = folder / TRAINING_PATIENTS_FILE
    if path.is_file():
        try:
            content: Any = json.loads(path.read_text("utf-8"))
            fingerprints = {str(fingerprint) for fingerprint in content["patients"]}
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputMissing(
                f"{TRAINING_PATIENTS_FILE} is damaged", where="the registered model", fix="register it again"
            ) from None
        shared = len(fingerprints & set(map(fingerprint_patient, patient_ids)))
        return shared, f"{len(fingerprints)} training patients recorded, {shared} of them judged on"
    inputs = read_config(folder).get("inputs") or {}
    if inputs.get("cohort") == result_digest(cohort.path):
        shared = len(list_training_patients(cohort) & patient_ids)
        return shared, f"trained on this cohort, {shared} patients of its train and val judged on"
    return (
        None,
        "not recorded: trained on another cohort and registered without --cohort",
    )
