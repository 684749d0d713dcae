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

RECORD = "training_patients.json"
CHARACTERS = 24


def fingerprint(patient: str) -> str:
    """What stands for a cohort's patient pseudonym in the registry; the same in every record."""
    return hashlib.sha256(f"medprior/patient/{patient}".encode()).hexdigest()[:CHARACTERS]


def record(folders: Mapping[str, Path], cohorts: Sequence[Path]) -> None:
    """Write beside each model who its training and validation patients were, as fingerprints.

    Args:
        folders: artifact name -> the copy of a model folder that goes into the registry.
        cohorts: the cohorts the models were trained on; a model of none of them gets no record.

    Raises:
        InputMissing: a cohort that none of the models was trained on.
    """
    trained = {
        name: (read_config(folder, "finetune").get("inputs") or {}).get("cohort")
        for name, folder in folders.items()
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
        marks = sorted(map(fingerprint, trained_on(Cohort.open(cohort))))
        for name, folder in folders.items():
            if trained[name] == digest:
                write_json(folder / RECORD, {"cohort": digest, "patients": marks})


def trained_on(cohort: Cohort) -> set[str]:
    """Patients of the splits that training and validation read."""
    table = cohort.manifest
    return set(table.patient_id[table.split.isin(["train", "val"]).to_numpy()])


def overlap(folder: Path, cohort: Cohort, patients: Iterable[str]) -> tuple[int | None, str]:
    """How many of `patients` a packaged model was trained on, and how that is known.

    Args:
        folder: the packaged model.
        cohort: the cohort to judge on.
        patients: its pseudonyms of the patients to judge on.

    Returns:
        The number, or None where nothing was recorded that tells.
    """
    asked = set(patients)
    path = folder / RECORD
    if path.is_file():
        text = path.read_text("utf-8")
        try:
            content: Any = json.loads(text)
            marks = {str(mark) for mark in content["patients"]}
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputMissing(
                f"{RECORD} is damaged", where="the registered model", fix="register it again"
            ) from None
        shared = len(marks & set(map(fingerprint, asked)))
        return shared, f"{len(marks)} training patients recorded, {shared} of them judged on"
    inputs = read_config(folder).get("inputs") or {}
    if inputs.get("cohort") == result_digest(cohort.path):
        shared = len(trained_on(cohort) & asked)
        return shared, f"trained on this cohort, {shared} patients of its train and val judged on"
    return (
        None,
        "not recorded: trained on another cohort and registered without --cohort",
    )
