"""The MLflow store: resolves its URI, checks that it answers, and opens a client without telemetry."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from medprior.errors import MedpriorError
from medprior.locks import hold_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"
# Set before MLflow is imported. The user's values take precedence, except for pickles, which are never loaded.
QUIET_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's defaults, seven retries of two minutes each, block a stage for a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
DATABASE_SCHEMES = ("postgresql", "mysql", "mssql")
STORE_URI_HINT = "give sqlite:///FILE.db or http(s)://HOST:PORT with --tracking-uri or MLFLOW_TRACKING_URI"


def prepare_mlflow_environment() -> None:
    """Disable MLflow's telemetry, log output and pickle loading; call before importing `mlflow`."""
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    for name in ("alembic", "mlflow", "git"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"mlflow\..*", category=FutureWarning)
    # With type hints MLflow refuses our signature of one binary column.
    warnings.filterwarnings("ignore", message=r"(?s).*Add type hints to the `predict` method")


def resolve_store_uri(uri: str | None) -> str:
    """The store's URI: `uri`, else MLFLOW_TRACKING_URI, else `mlflow.db` in the working directory.

    Args:
        uri: from the user; a bare path ending in `.db` is a SQLite file.

    Raises:
        MedpriorError: a kind of store that MLflow does not support or no longer writes.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    scheme = uri.split(":", 1)[0] if "://" in uri or uri == "databricks" else ""
    if not scheme and uri.endswith(".db"):
        uri, scheme = f"sqlite:///{uri}", "sqlite"
    known = {"sqlite", "http", "https", "databricks", *DATABASE_SCHEMES}
    if scheme.split("+")[0] not in known:
        raise MedpriorError(
            "no MLflow store",
            where="tracking URI",
            expected="sqlite:///, http(s):// or a database URI (file stores are no longer written)",
            found=repr(mask_credentials(uri)),
            fix=STORE_URI_HINT,
        )
    path = sqlite_path(uri)
    return f"sqlite:///{path}" if path else uri


def mask_credentials(uri: str) -> str:
    """`uri` without user name and password."""
    return re.sub(r"//[^/@]*@", "//***@", uri)


def sqlite_path(uri: str) -> Path | None:
    """The absolute path of a SQLite store, or None for another kind of store."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(unquote(uri.removeprefix("sqlite:///"))).absolute()


def connect_to_store(uri: str | None) -> MlflowClient:
    """Open a client for the store, after a short check that it answers.

    Raises:
        MedpriorError: not a store, not reachable, or written by a newer MLflow.
    """
    store_uri = resolve_store_uri(uri)
    prepare_mlflow_environment()
    path = sqlite_path(store_uri)
    if path:
        check_sqlite_store(path)
    elif store_uri.startswith("http"):
        check_server_store(store_uri)
    elif store_uri.split(":")[0].split("+")[0] in DATABASE_SCHEMES:
        check_database_store(store_uri)
    from mlflow import MlflowClient

    prepare_mlflow_environment()  # importing MLflow resets the level of its loggers
    tables = path and path.with_name(f".{path.name}-tables.lock")
    try:
        # MLflow's migrations fail if two processes create the tables of a new file at the same time.
        with hold_lock(tables, "the tables of the store", wait_seconds=None, mode=0o666) if tables else nullcontext():
            client = MlflowClient(tracking_uri=store_uri)
            client.search_experiments(max_results=1)
    except Exception as error:  # MLflow's stores raise many classes of error
        raise build_store_error(store_uri, type(error).__name__, str(error)) from None
    return client


def check_sqlite_store(path: Path) -> None:
    """Check that the file is a SQLite database, or can be created, and is writable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise build_store_error(str(path), "its folder cannot be made", error.strerror or "") from None
    if not os.access(path if path.exists() else path.parent, os.W_OK) or path.is_dir():
        raise build_store_error(str(path), "it cannot be written", "")
    if not path.exists():
        return
    try:
        connection = sqlite3.connect(path)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise build_store_error(str(path), "SQLite cannot read it", str(error)) from None


def check_server_store(uri: str) -> None:
    """Check that the server answers within five seconds."""
    try:
        urllib.request.urlopen(uri.rstrip("/") + "/health", timeout=5).close()
    except urllib.error.HTTPError:
        return  # the server answers; MLflow reports any further error itself
    except (OSError, ValueError) as error:
        raise build_store_error(uri, "the server does not answer", str(error)) from None


def check_database_store(uri: str) -> None:
    """Check a database by connecting once; MLflow itself retries for minutes."""
    import sqlalchemy

    try:
        sqlalchemy.create_engine(uri).connect().close()
    except ModuleNotFoundError as error:
        fix = "install the driver, or use an MLflow server over http://"
        raise MedpriorError(
            f"no driver ({error.name})", where="tracking URI", found=repr(mask_credentials(uri)), fix=fix
        ) from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise build_store_error(uri, "the database does not answer", type(error).__name__) from None


def build_store_error(uri: str, problem: str, detail: str) -> MedpriorError:
    """The one-line error for an unusable store; only the first line of `detail` is kept."""
    first = mask_credentials(detail.strip().splitlines()[0][:200]) if detail.strip() else ""
    return MedpriorError(
        f"MLflow store cannot be used: {problem}" + (f" ({first})" if first else ""),
        where="tracking URI",
        found=repr(mask_credentials(uri)),
        fix=STORE_URI_HINT,
    )


@contextmanager
def activate_store(client: MlflowClient) -> Iterator[None]:
    """Make the client's store MLflow's current one in the block, for calls that take no client."""
    import mlflow

    previous_uri = os.environ.get("MLFLOW_TRACKING_URI")
    set_uri: Any = mlflow.set_tracking_uri  # accepts None to unset, which its types lack
    set_uri(client.tracking_uri)
    try:
        yield
    finally:
        set_uri(previous_uri)


def ensure_experiment(client: MlflowClient, name: str) -> str:
    """Id of the experiment `name`, created if missing, its artifacts beside a SQLite store.

    Raises:
        MedpriorError: the experiment was deleted, or its name is not allowed.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        path = sqlite_path(client.tracking_uri)
        elsewhere = path is not None and path.parent != Path.cwd()
        folder = (path.parent / "mlruns" / slugify_name(name)).as_uri() if path and elsewhere else None
        try:
            # With this kind MLflow's page shows training runs first, not traces of language models.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            return str(client.create_experiment(name, artifact_location=folder, tags=kind))
        except MlflowException as error:
            experiment = client.get_experiment_by_name(name)  # another process may have created it
            if experiment is None:
                raise MedpriorError("experiment cannot be made", where=repr(name), found=str(error)[:200]) from None
    if experiment.lifecycle_stage != "active":
        raise MedpriorError(
            "experiment was deleted",
            where=repr(name),
            fix="restore it in MLflow, or name another with --experiment",
        )
    return str(experiment.experiment_id)


def slugify_name(text: str) -> str:
    """`text` as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-") or "unnamed"


def clean_metric_name(text: str) -> str:
    """`text` with characters that MLflow refuses in metric and parameter names replaced."""
    return re.sub(r"[^\w.\-/ :]", "_", text)[:250]
