"""`promote` and `roll_back`: `champion` moves to a version that passed the gate, or back."""

from __future__ import annotations

import re
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medprior.cohort import Cohort
from medprior.deploy.promotion.gate import Check, Verdict, judge, plain_texts
from medprior.deploy.promotion.settings import GateSettings
from medprior.deploy.promotion.smoke_test import smoke_answer
from medprior.deploy.registry import champion, package, training_patients
from medprior.deploy.registry.download import existing, fetched
from medprior.deploy.registry.load import of_package
from medprior.errors import InputMissing, MedpriorError
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import Study
from medprior.provenance import result_digest, write_json
from medprior.tracking import mlflow_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

EVIDENCE = "gate.json"


def promote(
    name: str,
    cohort: Path | str,
    challenger: str = "@challenger",
    split: str = "test",
    settings: GateSettings | None = None,
    tracking_uri: str | None = None,
    experiment: str = "medprior",
) -> dict[str, Any]:
    """Judge a version on a cohort and make it champion if it passes.

    Args:
        name: registered model.
        cohort: folder of `medprior ingest` with labels (masks for a segmenter).
        challenger: a version, or `@ALIAS`.
        split: split of the cohort to judge on.
        settings: the gate's bounds.
        tracking_uri: MLflow store; None for MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        experiment: MLflow experiment of the run that keeps the evidence.

    Returns:
        The evidence, as in the run's `gate.json`.

    Raises:
        MedpriorError: the challenger was refused (the champion stays), the champion changed
            meanwhile, or something is missing.
    """
    settings = settings or GateSettings()
    client = existing(tracking_uri)
    known = champion.aliases(client, name)
    version, before = version_named(client, name, known, challenger), known.get(champion.CHAMPION)
    if version == before:
        raise MedpriorError(
            "that version is champion already", where=f"models:/{name}/{version}",
            fix="name another with --challenger",
        )  # fmt: skip
    study = study_of(Path(cohort), split, settings)
    verdict = judged(client, name, version, before, study, settings)
    facts = {
        "name": name, "challenger": version, "champion": before, "split": split,
        "cohort_digest": result_digest(Path(cohort)), "judged_digest": study.part.digest,
        "images": len(study.part), "patients": len(set(study.part.patient_ids.tolist())),
        "settings": settings.model_dump(mode="json"), "passed": verdict.passed,
        "checks": [asdict(check) for check in verdict.checks], "numbers": verdict.numbers,
    }  # fmt: skip
    keep(client, name, version, facts, experiment)
    if not verdict.passed:
        raise MedpriorError(
            f"challenger refused: {verdict.refusal()}",
            where=f"models:/{name}/{version}",
            fix=f"the champion stays version {before}" if before else "there is no champion yet",
        )
    champion.crown(client, name, version, before)
    return facts


def roll_back(name: str, tracking_uri: str | None = None) -> tuple[str, str]:
    """Make the previous champion champion again, after loading it.

    Returns:
        The version that was champion, and the one that is now.

    Raises:
        MedpriorError: there is none to go back to, or it can no longer be loaded.
    """
    client = existing(tracking_uri)
    now, old = champion.predecessor(client, name)
    with fetched(f"models:/{name}/{old}", client.tracking_uri) as folder:
        of_package(folder)
    champion.crown(client, name, old, now)
    return now, old


def version_named(client: MlflowClient, name: str, known: dict[str, str], text: str) -> str:
    """The version that `3` or `@challenger` means.

    Raises:
        InputMissing: no such version or alias.
    """
    version = known.get(text[1:], "") if text.startswith("@") else text
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
        + (", ".join(f"@{alias}" for alias in sorted(known)) or "no alias yet"),
        fix=f"run `medprior register MODEL {name} --alias challenger` first",
    )


def study_of(cohort: Path, split: str, settings: GateSettings) -> Study:
    """The images to judge on and the resamples of their patients."""
    values = {"resamples": settings.resamples, "seed": settings.seed, "device": settings.device}
    return Study.of(Cohort.open(cohort), split, frozenset(), EvaluateSettings.checked(values))


def judged(
    client: MlflowClient,
    name: str,
    version: str,
    before: str | None,
    study: Study,
    settings: GateSettings,
) -> Verdict:
    """Every check of the gate on the registered packages themselves."""
    uri = client.tracking_uri
    verdict = Verdict()
    with fetched(f"models:/{name}/{version}", uri) as folder:
        asked = study.part.patient_ids.tolist()
        for model in sorted(path for path in folder.iterdir() if path.name in package.ARTIFACTS):
            shared, text = training_patients.overlap(model, study.cohort, asked)
            verdict.checks.append(Check(f"{model.name} patients apart", not shared, text))
        new = of_package(folder)
        try:
            verdict.checks.append(Check("smoke prediction", True, smoke_answer(folder)))
        except MedpriorError as error:
            verdict.checks.append(Check("smoke prediction", False, error.what))
        if before is None:
            found = judge(study, None, new, settings)
        else:
            with fetched(f"models:/{name}/{before}", uri) as other:
                found = judge(study, of_package(other), new, settings)
    return Verdict([*verdict.checks, *found.checks], found.numbers)


def keep(
    client: MlflowClient, name: str, version: str, facts: dict[str, Any], experiment: str
) -> None:
    """Leave the evidence as `gate.json` of a run, and its short form as tags of the version."""
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    place = mlflow_store.experiment_id(client, experiment)
    tags = {"medprior.stage": "promote", "mlflow.source.name": "medprior promote"}
    run = client.create_run(
        place, tags=tags, run_name=f"promote-{mlflow_store.slug(name)}-{started}Z"
    )
    ended = "FAILED"
    try:
        with (
            tempfile.TemporaryDirectory(prefix="medprior-") as temporary,
            mlflow_store.active(client),
        ):
            path = Path(temporary) / EVIDENCE
            write_json(path, facts)
            client.log_artifact(run.info.run_id, str(path))
        ended = "FINISHED"
    finally:
        client.set_terminated(run.info.run_id, ended)
    short = {
        "gate.verdict": "passed" if facts["passed"] else "refused",
        "gate.run_id": run.info.run_id,
        "gate.champion": facts["champion"] or "none",
        "gate.cohort_digest": facts["cohort_digest"],
        "gate.split": facts["split"],
    }
    for key, text in {**short, **plain_texts(facts["numbers"])}.items():
        client.set_model_version_tag(name, version, key, text)
