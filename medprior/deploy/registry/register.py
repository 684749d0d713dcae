"""Registers a model folder as a version in the MLflow registry and points an alias to it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medprior.deploy.inference.predictor import Predictor
from medprior.deploy.registry import champion, description, package, signature
from medprior.deploy.registry.download import ENTRY_FILE, connect_existing_store, resolve_alias
from medprior.errors import MedpriorError
from medprior.tracking import mlflow_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature


# Instead of the user and the path of the program, which MLflow would record.
ANONYMOUS_TAGS = {"mlflow.source.name": "medprior register", "mlflow.user": "medprior"}


def register_model(
    model: Path | str,
    name: str,
    alias: str = "champion",
    segmenter: Path | str | None = None,
    evidence: Path | str | None = None,
    tracking_uri: str | None = None,
    experiment: str = "medprior",
    cohorts: Sequence[Path | str] = (),
    sign_key: Path | str | None = None,
) -> str:
    """Register a model folder as a pyfunc from code, and point `alias` at the new version.

    The alias moves last, after the stored copy is fetched and loaded: a failure leaves it unchanged.

    Args:
        model: folder that `medprior finetune` wrote.
        name: registered model, created if missing.
        alias: such as `champion` or `challenger`.
        segmenter: a segmentation model beside a classification model: adds masks and heart size.
        evidence: folder that `medprior evaluate` wrote for this model; its metrics become tags.
        tracking_uri: MLflow store; None for MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        experiment: MLflow experiment of the run that registers.
        cohorts: of the training; fingerprints of their patients' pseudonyms are stored for `promote`.
        sign_key: private key (Ed25519, PEM); the models are signed with it.

    Returns:
        The new version's number; `models:/NAME@ALIAS` loads it.

    Raises:
        MedpriorError: the weights are damaged or not finite, MLflow does not accept the name or
            alias, the evidence belongs to another model, the key or the store cannot be used.
    """
    check_registry_names(name, alias)
    with tempfile.TemporaryDirectory(prefix="medprior-") as temporary:
        folder = Path(temporary)
        beside, paths = Path(segmenter) if segmenter else None, [Path(cohort) for cohort in cohorts]
        artifacts = package.stage_artifacts(Path(model), beside, folder / "artifacts", paths)
        if sign_key is not None:
            signature.sign_models(artifacts, signature.load_signing_key(Path(sign_key)))
        tags = package.build_version_tags(artifacts, Path(evidence) if evidence else None)
        Predictor.load(artifacts["model"], artifacts.get("segmenter"))
        client = mlflow_store.connect_to_store(tracking_uri)
        store = client.tracking_uri
        from mlflow.exceptions import MlflowException

        try:
            version = log_model_version(client, artifacts, name, tags, experiment, folder)
            description.describe_version(client, name, version, artifacts, Path(evidence) if evidence else None)
        except MlflowException as error:
            what = "the model version could not be created"
            raise mlflow_store.build_store_error(store, what, str(error)) from None
    uri = f"models:/{name}/{version}"
    from medprior.deploy.registry.load import load_model

    if load_model(uri, store).digest != tags["model_digest"]:
        raise MedpriorError("the stored copy differs from the model", where=uri, fix="try again")
    assign_alias(client, name, alias, version)
    return version


def assign_alias(client: MlflowClient, name: str, alias: str, version: str) -> None:
    """Point an alias at a version; `champion` moves under its lock, and `previous` follows it."""
    if alias != champion.CHAMPION_ALIAS:
        client.set_registered_model_alias(name, alias, version)
        return
    before = champion.load_aliases(client, name).get(champion.CHAMPION_ALIAS)
    champion.make_champion(client, name, version, before)


def find_alias_version(name: str, alias: str = "champion", tracking_uri: str | None = None) -> str:
    """Find the version that an alias points to.

    Raises:
        MedpriorError: the store, model or alias does not exist.
    """
    resolved = resolve_alias(connect_existing_store(tracking_uri), f"models:/{name}@{alias}")
    return resolved.rsplit("/", 1)[1]


def log_model_version(
    client: MlflowClient,
    artifacts: dict[str, Path],
    name: str,
    tags: dict[str, str],
    experiment: str,
    folder: Path,
) -> str:
    """Log the package in a new run and create a version of it; returns the version."""
    import mlflow
    from mlflow.exceptions import MlflowException

    code = package.copy_package_code(folder)
    experiment_id = mlflow_store.ensure_experiment(client, experiment)
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    with (
        mlflow_store.activate_store(client),
        mlflow.start_run(
            experiment_id=experiment_id,
            run_name=f"register-{mlflow_store.slugify_name(name)}-{started}Z",
            tags={"medprior.stage": "register", **ANONYMOUS_TAGS, **tags},
            nested=mlflow.active_run() is not None,
        ) as run,
    ):
        tags = tags | description.link_version_run(client, run.info.run_id, artifacts)
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(shutil.copy(code / "deploy" / "registry" / ENTRY_FILE, folder)),
            artifacts={key: str(path) for key, path in artifacts.items()},
            code_paths=[str(code)],
            pip_requirements=package.list_pinned_requirements(),
            signature=build_model_signature(),
            input_example=build_input_example(),
            tags={**ANONYMOUS_TAGS, **tags},
        )
        with suppress(MlflowException):  # exists already; a refused name also fails in the next call
            client.create_registered_model(name)
        created = client.create_model_version(
            name, info.model_uri, run_id=run.info.run_id, tags=tags, model_id=info.model_id
        )
    return str(created.version)


def build_model_signature() -> ModelSignature:
    """One binary input column; JSON values per radiograph as output (`pyfunc.OUTPUT_SCHEMA`)."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    from medprior.deploy.registry.pyfunc import OUTPUT_SCHEMA

    outputs: list[Any] = [ColSpec(kind, name, required=False) for name, kind in OUTPUT_SCHEMA.items()]
    return ModelSignature(Schema([ColSpec(DataType.binary, "dicom")]), Schema(outputs))


def build_input_example() -> Any:
    """A small phantom radiograph as DICOM, for the model's page and its first request."""
    import pandas as pd

    from medprior.deploy.inference.example import create_example_dicom

    return pd.DataFrame({"dicom": [create_example_dicom()]})


def check_registry_names(name: str, alias: str) -> None:
    """Refuse names that MLflow refuses only after the upload."""
    if not re.fullmatch(r"[^/:@%\s]{1,200}", name):
        raise MedpriorError(
            "invalid model name",
            where="NAME",
            expected="1 to 200 characters, no spaces and none of / : @ %",
            found=repr(name),
        )
    if not re.fullmatch(r"[A-Za-z][\w-]{0,100}", alias) or re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE):
        raise MedpriorError(
            "invalid alias",
            where="--alias",
            expected="such as champion or challenger (v1, v2 ... and latest are MLflow's own)",
            found=repr(alias),
        )
