"""The MLflow store: which one is meant, whether it answers, and a quiet, safe client for it."""

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
# Set before MLflow is imported. A user's own choice wins, save for pickles, which we never load.
QUIET_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's seven retries of two minutes each would hold a stage for a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
DATABASE_SCHEMES = ("postgresql", "mysql", "mssql")
STORE_URI_HINT = "give sqlite:///FILE.db or http(s)://HOST:PORT with --tracking-uri or MLFLOW_TRACKING_URI"


def prepare_mlflow_environment() -> None:
    """Switch off MLflow's telemetry, noise and pickle loading; call before importing `mlflow`."""
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    for name in ("alembic", "mlflow", "git"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"mlflow\..*", category=FutureWarning)
    # Type hints would make MLflow refuse our signature of one binary column.
    warnings.filterwarnings("ignore", message=r"(?s).*Add type hints to the `predict` method")


def resolve_store_uri(uri: str | None) -> str:
    """The store that is meant: `uri`, else MLFLOW_TRACKING_URI, else `mlflow.db` right here.

    Args:
        uri: what the user gave; a bare path ending in `.db` is taken for a SQLite file.

    Raises:
        MedpriorError: a kind of store that MLflow does not know or no longer writes.
    """
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    scheme = chosen.split(":", 1)[0] if "://" in chosen or chosen == "databricks" else ""
    if not scheme and chosen.endswith(".db"):
        chosen, scheme = f"sqlite:///{chosen}", "sqlite"
    known = {"sqlite", "http", "https", "databricks", *DATABASE_SCHEMES}
    if scheme.split("+")[0] not in known:
        raise MedpriorError(
            "no MLflow store",
            where="tracking URI",
            expected="sqlite:///, http(s):// or a database URI (file stores are no longer written)",
            found=repr(mask_credentials(chosen)),
            fix=STORE_URI_HINT,
        )
    path = sqlite_path(chosen)
    return f"sqlite:///{path}" if path else chosen


def mask_credentials(uri: str) -> str:
    """`uri` without the user name and password that it may carry."""
    return re.sub(r"//[^/@]*@", "//***@", uri)


def sqlite_path(uri: str) -> Path | None:
    """The absolute path of a SQLite store, or None for another kind of store."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(unquote(uri.removeprefix("sqlite:///"))).absolute()


def connect_to_store(uri: str | None) -> MlflowClient:
    """A client for the store, after a short check that it answers.

    Raises:
        MedpriorError: the store is no store, cannot be reached, or is of a newer MLflow.
    """
    chosen = resolve_store_uri(uri)
    prepare_mlflow_environment()
    path = sqlite_path(chosen)
    if path:
        check_sqlite_store(path)
    elif chosen.startswith("http"):
        check_server_store(chosen)
    elif chosen.split(":")[0].split("+")[0] in DATABASE_SCHEMES:
        check_database_store(chosen)
    from mlflow import MlflowClient

    prepare_mlflow_environment()  # importing MLflow resets the level of its loggers
    tables = path and path.with_name(f".{path.name}-tables.lock")
    try:
        # MLflow's migrations clash where two processes make the tables of one new file.
        with hold_lock(tables, "the tables of the store", wait_seconds=None, mode=0o666) if tables else nullcontext():
            client = MlflowClient(tracking_uri=chosen)
            client.search_experiments(max_results=1)
    except Exception as error:  # MLflow wraps whatever its stores raise in many classes
        raise build_store_error(chosen, type(error).__name__, str(error)) from None
    return client


def check_sqlite_store(path: Path) -> None:
    """Refuse a file that is no SQLite database, or one that cannot be made or written."""
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
    """Refuse a server that does not answer within five seconds."""
    try:
        urllib.request.urlopen(uri.rstrip("/") + "/health", timeout=5).close()
    except urllib.error.HTTPError:
        return  # something answers; MLflow itself reports what it then dislikes
    except (OSError, ValueError) as error:
        raise build_store_error(uri, "the server does not answer", str(error)) from None


def check_database_store(uri: str) -> None:
    """Connect once to a database; MLflow itself would retry for minutes."""
    import sqlalchemy

    try:
        sqlalchemy.create_engine(uri).connect().close()
    except ModuleNotFoundError as error:
        fix = "install the driver, or speak to an MLflow server over http://"
        raise MedpriorError(
            f"no driver ({error.name})", where="tracking URI", found=repr(mask_credentials(uri)), fix=fix
        ) from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise build_store_error(uri, "the database does not answer", type(error).__name__) from None


def build_store_error(uri: str, what: str, detail: str) -> MedpriorError:
    """The one-line error for a store that cannot be used; only the first line of `detail` stays."""
    first = mask_credentials(detail.strip().splitlines()[0][:200]) if detail.strip() else ""
    return MedpriorError(
        f"MLflow store cannot be used: {what}" + (f" ({first})" if first else ""),
        where="tracking URI",
        found=repr(mask_credentials(uri)),
        fix=STORE_URI_HINT,
    )


@contextmanager
def activate_store(client: MlflowClient) -> Iterator[None]:
    """Make the client's store MLflow's current one for the block, for calls that know no client."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    set_uri: Any = mlflow.set_tracking_uri  # takes None to unset, and does not say so
    set_uri(client.tracking_uri)
    try:
        yield
    finally:
        set_uri(before)


def ensure_experiment(client: MlflowClient, name: str) -> str:
    """Id of the experiment `name`, made when missing, its artifacts beside a SQLite store.

    Raises:
        MedpriorError: the experiment was deleted, or its name is not allowed.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        path = sqlite_path(client.tracking_uri)
        elsewhere = path is not None and path.parent != Path.cwd()
        folder = (path.parent / "mlruns" / slugify_name(name)).as_uri() if path and elsewhere else None
        try:
            # The kind makes the page open on training runs, not on traces of language models.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            return str(client.create_experiment(name, artifact_location=folder, tags=kind))
        except MlflowException as error:
            found = client.get_experiment_by_name(name)  # another process may have been first
            if found is None:
                raise MedpriorError("experiment cannot be made", where=repr(name), found=str(error)[:200]) from None
    if found.lifecycle_stage != "active":
        raise MedpriorError(
            "experiment was deleted",
            where=repr(name),
            fix="restore it in MLflow, or name another with --experiment",
        )
    return str(found.experiment_id)


def slugify_name(text: str) -> str:
    """`text` as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-") or "unnamed"


def clean_metric_name(text: str) -> str:
    """`text` with what MLflow refuses in the names of metrics and parameters replaced."""
    return re.sub(r"[^\w.\-/ :]", "_", text)[:250]
