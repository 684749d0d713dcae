"""Moves the alias `champion` to a version that passed the gate, or back to the previous one."""

from __future__ import annotations

import re
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medprior.cohort import Cohort
from medprior.deploy.inference.model_folder import find_model_folders
from medprior.deploy.promotion.gate import GateCheck, GateVerdict, build_gate_tags, compare_with_champion
from medprior.deploy.promotion.settings import GateSettings
from medprior.deploy.promotion.smoke_test import run_smoke_prediction
from medprior.deploy.registry import champion, training_patients
from medprior.deploy.registry.download import connect_existing_store, fetch_package
from medprior.deploy.registry.load import load_package
from medprior.errors import InputMissing, MedpriorError
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy
from medprior.provenance import result_digest, write_json
from medprior.tracking import mlflow_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

EVIDENCE_FILE = "gate.json"


def promote_challenger(
    name: str,
    cohort: Path | str,
    challenger: str = "@challenger",
    split: str = "test",
    settings: GateSettings | None = None,
    tracking_uri: str | None = None,
    experiment: str = "medprior",
) -> dict[str, Any]:
    """Run the gate for a version on a cohort and make it champion if it passes.

    Args:
        name: registered model.
        cohort: folder of `medprior ingest` with labels (masks for a segmenter).
        challenger: a version, or `@ALIAS`.
        split: split of the cohort to compare on.
        settings: the gate's bounds.
        tracking_uri: MLflow store; None for MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        experiment: MLflow experiment of the run that stores the evidence.

    Returns:
        The evidence, as in the run's `gate.json`.

    Raises:
        MedpriorError: the challenger is refused (the champion stays), the champion changed
            meanwhile, or an input is missing.
    """
    settings = settings or GateSettings()
    client = connect_existing_store(tracking_uri)
    aliases = champion.load_aliases(client, name)
    version, before = resolve_version(client, name, aliases, challenger), aliases.get(champion.CHAMPION_ALIAS)
    if version == before:
        raise MedpriorError(
            "that version is champion already", where=f"models:/{name}/{version}",
            fix="name another with --challenger",
        )  # fmt: skip
    study = build_gate_study(Path(cohort), split, settings)
    verdict = run_gate_checks(client, name, version, before, study, settings)
    evidence = {
        "name": name, "challenger": version, "champion": before, "split": split,
        "cohort_digest": result_digest(Path(cohort)), "judged_digest": study.part.digest,
        "images": len(study.part), "patients": len(set(study.part.patient_ids.tolist())),
        "model_digest": client.get_model_version(name, version).tags.get("model_digest"),
        "settings": settings.model_dump(mode="json"), "passed": verdict.passed,
        "checks": [asdict(check) for check in verdict.checks], "numbers": verdict.numbers,
    }  # fmt: skip
    save_gate_evidence(client, name, version, evidence, experiment)
    if not verdict.passed:
        raise MedpriorError(
            f"challenger refused: {verdict.describe_failures()}",
            where=f"models:/{name}/{version}",
            fix=f"the champion stays version {before}" if before else "there is no champion yet",
        )
    champion.make_champion(client, name, version, before, "gate")
    return evidence


def roll_back_champion(name: str, tracking_uri: str | None = None) -> tuple[str, str]:
    """Load the previous champion and make it champion again.

    Returns:
        The version that was champion, and the one that is champion now.

    Raises:
        MedpriorError: there is no previous champion, or it cannot be loaded.
    """
    client = connect_existing_store(tracking_uri)
    current, previous = champion.find_champion_and_previous(client, name)
    with fetch_package(f"models:/{name}/{previous}", client.tracking_uri) as folder:
        load_package(folder)
    champion.make_champion(client, name, previous, current, "rollback")
    return current, previous


def resolve_version(client: MlflowClient, name: str, aliases: dict[str, str], text: str) -> str:
    """The version that a number (`3`) or an alias (`@challenger`) stands for.

    Raises:
        InputMissing: no such version or alias.
    """
    version = aliases.get(text[1:], "") if text.startswith("@") else text
    from mlflow.exceptions import MlflowException

    try:
        if re.fullmatch(r"[1-9]\d*", version):
            return str(client.get_model_version(name, version).version)
    except MlflowException:
        pass
    raise InputMissing(
        "no such version",
        where=f"--challenger {text}",
        expected="a version's number or one of "
        + (", ".join(f"@{alias}" for alias in sorted(aliases)) or "no alias yet"),
        fix=f"run `medprior register MODEL {name} --alias challenger` first",
    )


def build_gate_study(cohort: Path, split: str, settings: GateSettings) -> EvaluationStudy:
    """The images of the comparison and the resamples of their patients."""
    values = {"resamples": settings.resamples, "seed": settings.seed, "device": settings.device}
    return EvaluationStudy.of(Cohort.open(cohort), split, frozenset(), EvaluateSettings.from_values(values))


def run_gate_checks(
    client: MlflowClient,
    name: str,
    version: str,
    before: str | None,
    study: EvaluationStudy,
    settings: GateSettings,
) -> GateVerdict:
    """Run every check of the gate on the registered packages."""
    uri = client.tracking_uri
    verdict = GateVerdict()
    with fetch_package(f"models:/{name}/{version}", uri) as folder:
        patient_ids = study.part.patient_ids.tolist()
        for model_folder in find_model_folders(folder).values():
            shared, text = training_patients.count_training_overlap(model_folder, study.cohort, patient_ids)
            verdict.checks.append(GateCheck(f"{model_folder.name} patients apart", not shared, text))
        new = load_package(folder)
        try:
            verdict.checks.append(GateCheck("smoke prediction", True, run_smoke_prediction(folder)))
        except MedpriorError as error:
            verdict.checks.append(GateCheck("smoke prediction", False, error.what))
        if before is None:
            comparison = compare_with_champion(study, None, new, settings)
        else:
            with fetch_package(f"models:/{name}/{before}", uri) as other:
                comparison = compare_with_champion(study, load_package(other), new, settings)
    return GateVerdict([*verdict.checks, *comparison.checks], comparison.numbers)


def save_gate_evidence(
    client: MlflowClient, name: str, version: str, evidence: dict[str, Any], experiment: str
) -> None:
    """Log the evidence as `gate.json` of a run, and its short form as tags of the version."""
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    experiment_id = mlflow_store.ensure_experiment(client, experiment)
    tags = {"medprior.stage": "promote", "mlflow.source.name": "medprior promote"}
    run = client.create_run(experiment_id, tags=tags, run_name=f"promote-{mlflow_store.slugify_name(name)}-{started}Z")
    status = "FAILED"
    try:
        with (
            tempfile.TemporaryDirectory(prefix="medprior-") as temporary,
            mlflow_store.activate_store(client),
        ):
            path = Path(temporary) / EVIDENCE_FILE
            write_json(path, evidence)
            client.log_artifact(run.info.run_id, str(path))
        status = "FINISHED"
    finally:
        client.set_terminated(run.info.run_id, status)
    summary = {
        "gate.verdict": "passed" if evidence["passed"] else "refused",
        "gate.run_id": run.info.run_id,
        "gate.model_digest": evidence["model_digest"] or "none",
        "gate.champion": evidence["champion"] or "none",
        "gate.cohort_digest": evidence["cohort_digest"],
        "gate.split": evidence["split"],
    }
    for key, text in {**summary, **build_gate_tags(evidence["numbers"])}.items():
        client.set_model_version_tag(name, version, key, text)
