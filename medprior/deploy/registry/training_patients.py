"""Was a model trained on the patients it is to be judged on? As far as that was recorded."""

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
    """What stands for a cohort's patient pseudonym in the registry; the same in every record."""
    return hashlib.sha256(f"medprior/patient/{patient}".encode()).hexdigest()[:FINGERPRINT_CHARACTERS]


def write_training_patients(folders: Mapping[str, Path], cohorts: Sequence[Path]) -> None:
    """Write beside each model who its training and validation patients were, as fingerprints.

    Args:
        folders: artifact name -> the copy of a model folder that goes into the registry.
        cohorts: the cohorts the models were trained on; a model of none of them gets no record.

    Raises:
        InputMissing: a cohort that none of the models was trained on.
    """
    trained = {
        name: (read_config(folder, "finetune").get("inputs") or {}).get("cohort") for name, folder in folders.items()
    }
    for cohort in cohorts:
        digest = result_digest(cohort)
        if digest not in trained.values():
            raise InputMissing(
                "the model was trained on another cohort",
                where="--cohort",
                expected=f"digest {', '.join(str(text)[:12] for text in trained.values())}",
                found=digest[:12],
                fix="name the cohort that `medprior finetune` read",
            )
        marks = sorted(map(fingerprint_patient, list_training_patients(Cohort.open(cohort))))
        for name, folder in folders.items():
            if trained[name] == digest:
                write_json(folder / TRAINING_PATIENTS_FILE, {"cohort": digest, "patients": marks})


def list_training_patients(cohort: Cohort) -> set[str]:
    """Patients of the splits that training and validation read."""
    table = cohort.manifest
    return set(table.patient_id[table.split.isin(["train", "val"]).to_numpy()])


def count_training_overlap(folder: Path, cohort: Cohort, patients: Iterable[str]) -> tuple[int | None, str]:
    """How many of `patients` a packaged model was trained on, and how that is known.

    Args:
        folder: the packaged model.
        cohort: the cohort to judge on.
        patients: its pseudonyms of the patients to judge on.

    Returns:
        The number, or None where nothing was recorded that tells.
    """
    asked = set(patients)
    path = folder / TRAINING_PATIENTS_FILE
    if path.is_file():
        text = path.read_text("utf-8")
        try:
            content: Any = json.loads(text)
            marks = {str(mark) for mark in content["patients"]}
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputMissing(
                f"{TRAINING_PATIENTS_FILE} is damaged", where="the registered model", fix="register it again"
            ) from None
        shared = len(marks & set(map(fingerprint_patient, asked)))
        return shared, f"{len(marks)} training patients recorded, {shared} of them judged on"
    inputs = read_config(folder).get("inputs") or {}
    if inputs.get("cohort") == result_digest(cohort.path):
        shared = len(list_training_patients(cohort) & asked)
        return shared, f"trained on this cohort, {shared} patients of its train and val judged on"
    return (
        None,
        "not recorded: trained on another cohort and registered without --cohort",
    )
