"""Models of the registry on this disk: found, fetched, and checked before anything is loaded.

Only JSON and safetensors are read from what the registry holds. Its Python code is never run here,
so that a stranger's model can at worst be refused.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medprior.deploy import store
from medprior.errors import InputMissing, MedpriorError

if TYPE_CHECKING:
    from mlflow import MlflowClient

CODE = {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".ckpt", ".npy", ".h5", ".bin"}
URI = re.compile(r"(models|runs):/")


def is_uri(text: str) -> bool:
    """True for `models:/...` and `runs:/...`."""
    return bool(URI.match(text))


@contextmanager
def fetched(uri: str, tracking_uri: str | None) -> Iterator[Path]:
    """The artifacts folder (`model/`, perhaps `segmenter/`) behind a registry URI, for the block.

    Raises:
        MedpriorError: no such store, model, version or alias; or the model is none of ours.
    """
    client = existing(tracking_uri)
    resolved = resolve_alias(client, uri)
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(prefix="medprior-") as folder, store.active(client):
        try:
            root = Path(download_artifacts(artifact_uri=resolved, dst_path=folder))
        except Exception as error:  # each artifact store has its own classes
            detail = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
            raise InputMissing(
                "the model cannot be fetched",
                where=uri,
                found=f"{type(error).__name__}: {store.masked(detail)}",
                fix="check that the artifact store is reachable",
            ) from None
        check_package(root, uri)
        yield root / "artifacts"


def existing(tracking_uri: str | None) -> MlflowClient:
    """A client for a store that is there; asking for a model never makes an empty store.

    Raises:
        MedpriorError: no such store, or it cannot be used.
    """
    path = store.sqlite_file(store.resolve(tracking_uri))
    if path is not None and not path.exists():
        raise InputMissing(
            "no MLflow store here",
            where="tracking URI",
            found=f"no file {path.name!r}",
            fix="register a model with `medprior register` first, or give --tracking-uri",
        )
    return store.connect(tracking_uri)


def resolve_alias(client: MlflowClient, uri: str) -> str:
    """`models:/NAME/VERSION` for an alias or version; the error names what there is instead."""
    from mlflow.exceptions import MlflowException

    found = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/([^/@]+))", uri)
    if found is None:
        if re.fullmatch(r"models:/m-[0-9a-f]+", uri) or re.fullmatch(r"runs:/[^/]+/.+", uri):
            return uri
        expected = "models:/NAME@ALIAS, models:/NAME/VERSION or a model folder"
        raise MedpriorError("not a model", where=repr(uri), expected=expected)
    name, alias, version = found.groups()
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        known = [item.name for item in client.search_registered_models(max_results=20)]
        raise InputMissing(
            "no such registered model",
            where=repr(name),
            expected=f"one of {', '.join(known)}" if known else "a registered model",
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


def check_package(root: Path, uri: str) -> None:
    """Refuse a registered model that is not medprior's safetensors-and-JSON package.

    Raises:
        InputMissing: another flavour, a pickle in it, or no model of ours.
    """
    try:
        description: Any = yaml.safe_load((root / "MLmodel").read_text(encoding="utf-8"))
        flavour = dict(description["flavors"]["python_function"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError):
        flavour = {}
    names = {path.suffix.lower() for path in root.rglob("*") if path.is_file()}
    pickled = "python_model" in flavour or bool(names & CODE)
    ours = (
        str(flavour.get("loader_module")).startswith("mlflow.pyfunc.")
        and "model_code_path" in flavour
        and (root / "artifacts" / "model" / "config.json").is_file()
    )
    if pickled or not ours:
        raise InputMissing(
            "the model holds pickled objects, which could run code" if pickled else "foreign model",
            where=uri,
            expected="a model that `medprior register` made",
            fix="register it again from its model folder",
        )
