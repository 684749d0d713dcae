"""Resolves and downloads registered models, and checks them before anything is loaded.

Only JSON and safetensors are read from a registered model. Its Python code never runs here, so an
untrusted model can at worst be refused.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import yaml

from medprior.deploy.inference.model_folder import ARTIFACT_NAMES
from medprior.deploy.registry.binding import check_recorded_digest
from medprior.errors import InputMissing, MedpriorError
from medprior.finetune.model import MODEL_WEIGHTS_FILE
from medprior.tracking import mlflow_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

CODE_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".ckpt", ".npy", ".npz", ".h5", ".bin", ".zip"}
LOADER_MODULE = "mlflow.pyfunc.loaders.code_model"
ENTRY_FILE = "pyfunc_entry.py"
MAX_MLMODEL_BYTES = 1 << 20
URI_PATTERN = re.compile(r"(models|runs):/")


def is_registry_uri(text: str) -> bool:
    """True for `models:/...` and `runs:/...`."""
    return bool(URI_PATTERN.match(text))


@contextmanager
def fetch_package(uri: str, tracking_uri: str | None) -> Iterator[Path]:
    """Download the artifacts folder (`model/`, perhaps `segmenter/`) of a registry URI for the block.

    Raises:
        MedpriorError: the store, model, version or alias does not exist, the model was not registered by
            medprior, its files are not those that were registered, or a champion was not approved.
    """
    client = connect_existing_store(tracking_uri)
    resolved = resolve_alias(client, uri)
    from mlflow.artifacts import download_artifacts

    refuse_moved_artifacts(client, resolved, uri)
    with tempfile.TemporaryDirectory(prefix="medprior-") as folder, mlflow_store.activate_store(client):
        try:
            root = Path(download_artifacts(artifact_uri=resolved, dst_path=folder))
        except Exception as error:  # each artifact store raises its own classes
            detail = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
            raise InputMissing(
                "the model cannot be fetched",
                where=uri,
                found=f"{type(error).__name__}: {mlflow_store.mask_credentials(detail)}",
                fix="check that the artifact store is reachable",
            ) from None
        check_package(root, uri)
        check_recorded_digest(client, uri, resolved, root / "artifacts")
        yield root / "artifacts"


def connect_existing_store(tracking_uri: str | None) -> MlflowClient:
    """Connect to a store that exists; never creates an empty one.

    Raises:
        MedpriorError: the store does not exist or cannot be used.
    """
    path = mlflow_store.sqlite_path(mlflow_store.resolve_store_uri(tracking_uri))
    if path is not None and not path.exists():
        raise InputMissing(
            "no MLflow store here",
            where="tracking URI",
            found=f"no file {path.name!r}",
            fix="register a model with `medprior register` first, or give --tracking-uri",
        )
    return mlflow_store.connect_to_store(tracking_uri)


def resolve_alias(client: MlflowClient, uri: str) -> str:
    """Resolve an alias or version to `models:/NAME/VERSION`; the error lists the existing names."""
    from mlflow.exceptions import MlflowException

    match = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/([^/@]+))", uri)
    if match is None:
        if re.fullmatch(r"models:/m-[0-9a-f]+", uri) or re.fullmatch(r"runs:/[^/]+/.+", uri):
            return uri
        expected = "models:/NAME@ALIAS, models:/NAME/VERSION or a model folder"
        raise MedpriorError("not a model", where=repr(uri), expected=expected)
    name, alias, version = match.groups()
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        names = [item.name for item in client.search_registered_models(max_results=20)]
        raise InputMissing(
            "no such registered model",
            where=repr(name),
            expected=f"one of {', '.join(names)}" if names else "a registered model",
            fix=f"run `medprior register MODEL {name}` first",
        ) from None
    if alias is None and version == "latest":
        version = max((item.version for item in model.latest_versions), key=int, default="none")
    if alias is not None:
        if alias not in model.aliases:
            raise InputMissing(
                "no such alias",
                where=uri,
                expected=f"one of {', '.join(sorted(model.aliases)) or 'none yet'}",
                fix=f"run `medprior register MODEL {name} --alias {alias}`",
            )
        version = model.aliases[alias]
    try:
        client.get_model_version(name, version)
    except MlflowException:
        raise InputMissing("no such version", where=uri, fix="see `mlflow ui`") from None
    return f"models:/{name}/{version}"


def refuse_moved_artifacts(client: MlflowClient, resolved: str, uri: str) -> None:
    """Raise InputMissing where the store names a local folder that is not here: stores record absolute paths.

    Args:
        client: of the store.
        resolved: from `resolve_alias`.
        uri: as the user gave it.
    """
    location = urlsplit(find_artifact_location(client, resolved))
    folder = Path(unquote(location.path))
    if location.scheme not in {"", "file"} or not location.path or folder.exists():
        return
    store = mlflow_store.sqlite_path(client.tracking_uri)
    old_root = next((parent for parent in folder.parents if parent.name == "mlruns"), None)
    new_root = store.parent / "mlruns" if store else None
    if old_root and new_root and (new_root / folder.relative_to(old_root)).exists():
        fix = f"the store was moved: ln -s {shlex.quote(str(new_root))} {shlex.quote(str(old_root))}"
    else:
        fix = "move the folder back, or make a link from there to where it is now"
    raise InputMissing("the model's artifacts are not where the store says", where=uri, expected=str(folder), fix=fix)


def find_artifact_location(client: MlflowClient, resolved: str) -> str:
    """URI of the artifacts of `models:/NAME/VERSION`, `models:/m-ID` or `runs:/ID/PATH`; empty if unknown."""
    from mlflow.exceptions import MlflowException

    kind, _, name = resolved.partition(":/")
    first, _, rest = name.partition("/")
    try:
        if kind == "runs":
            # A run's model lies beside the run, in the folder of its experiment.
            return str(client.get_run(first).info.artifact_uri or "").removesuffix(f"/{first}/artifacts")
        if rest:
            return str(client.get_model_version_download_uri(first, rest))
        return str(client.get_logged_model(first).artifact_location)
    except MlflowException:
        return ""


def check_package(root: Path, uri: str) -> None:
    """Refuse a registered model that is not a medprior package of safetensors and JSON.

    Raises:
        InputMissing: the model has another flavour, a pickle, an archive, a link or a path that
            leads outside, or lacks the files of a medprior package.
    """
    flavour = read_pyfunc_flavour(root / "MLmodel")
    pickled = "python_model" in flavour or any(map(has_executable_code, root.rglob("*")))
    if pickled or not is_medprior_package(root, flavour):
        raise InputMissing(
            "the model holds pickled objects, which could run code"
            if pickled
            else "not a package of `medprior register`",
            where=uri,
            expected="a model that `medprior register` made",
            fix="register it again from its model folder",
        )


def read_pyfunc_flavour(path: Path) -> dict[str, Any]:
    """Read the `python_function` flavour of an MLmodel file; empty if it cannot be read."""
    try:
        if path.stat().st_size > MAX_MLMODEL_BYTES:
            return {}
        description: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        if set(description["flavors"]) != {"python_function"}:
            return {}
        return dict(description["flavors"]["python_function"])
    except (OSError, RecursionError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return {}


def has_executable_code(path: Path) -> bool:
    """Whether a file is a pickle or an archive, by its name or its first bytes.

    Safetensors files begin with the length of their header, which can equal any signature. Their
    suffix suffices, since only a safetensors reader opens them.
    """
    if not path.is_file():
        return False
    if path.suffix.lower() in CODE_SUFFIXES:
        return True
    with path.open("rb") as file:
        return path.suffix != ".safetensors" and file.read(4).startswith((b"\x80", b"PK", b"\x1f\x8b"))


def is_medprior_package(root: Path, flavour: dict[str, Any]) -> bool:
    """Whether a package has exactly the fields and files that `medprior register` writes."""
    if any(path.is_symlink() for path in root.rglob("*")):
        return False
    artifacts = flavour.get("artifacts")
    if not isinstance(artifacts, dict) or not {"model"} <= artifacts.keys() <= set(ARTIFACT_NAMES):
        return False
    paths = {name: entry.get("path") if isinstance(entry, dict) else None for name, entry in artifacts.items()}
    files = [path for path in (root / "artifacts").rglob("*") if path.is_file()]
    return (
        flavour.get("loader_module") == LOADER_MODULE
        and flavour.get("code") == "code"
        and Path(str(flavour.get("model_code_path"))).name == ENTRY_FILE
        and paths == {name: f"artifacts/{name}" for name in artifacts}
        and all(path.suffix == ".json" or path.name == MODEL_WEIGHTS_FILE for path in files)
        and all((root / path / "config.json").is_file() for path in paths.values() if path)
    )
