"""Tracks a stage as an MLflow run: settings, live metrics, cohort and figures."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import medprior
from medprior.errors import MedpriorError, Rejected
from medprior.provenance import find_git_commit
from medprior.tracking import mlflow_store, run_record

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_ID_FILE = ".mlflow_run"
METRIC_BATCH_SIZE = 500  # MLflow takes at most 1000 metrics in one call
FLUSH_SECONDS = 3.0
MAX_PARAM_LENGTH = 500


class RunObserver:
    """An `Observer` that writes to one MLflow run.

    A store that stops answering never ends the stage: metrics that could not be written are kept and
    written again later, and the first failure is one line on stderr.

    Attributes:
        pictures: whether figures and reports that show radiographs are logged.
    """

    def __init__(self, client: MlflowClient, run_id: str, result: Path, pictures: bool = False) -> None:
        self.client, self.run_id, self.result, self.pictures = client, run_id, result, pictures
        self._params: dict[str, str] = dict(client.get_run(run_id).data.params)
        self._pending_metrics: list[Any] = []
        self._last_flush = time.monotonic()
        self._warned = False

    def params(self, values: Mapping[str, object]) -> None:
        """Log settings; one that a resumed run changed becomes the tag `resumed.<key>`."""
        from mlflow.entities import Param, RunTag

        self._write_run_id()
        texts = {key: text[:MAX_PARAM_LENGTH] for key, text in flatten_settings(values).items()}
        new = [Param(key, text) for key, text in texts.items() if key not in self._params]
        changed = [RunTag(f"resumed.{key}", text) for key, text in texts.items() if self._params.get(key, text) != text]
        self._params |= {item.key: item.value for item in new}
        for start in range(0, len(new), 100):  # MLflow takes at most 100 at once
            self.attempt(self.client.log_batch, self.run_id, params=new[start : start + 100])
        for start in range(0, len(changed), 100):
            self.attempt(self.client.log_batch, self.run_id, tags=changed[start : start + 100])

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Queue metrics for the next write; NaN is written unchanged."""
        from mlflow.entities import Metric

        self._write_run_id()
        now = int(time.time() * 1000)
        self._pending_metrics += [
            Metric(mlflow_store.clean_metric_name(key), float(value), now, int(step)) for key, value in values.items()
        ]
        is_due = time.monotonic() - self._last_flush > FLUSH_SECONDS
        if is_due or len(self._pending_metrics) >= METRIC_BATCH_SIZE:
            self.flush()

    def artifact(self, path: Path) -> None:
        """Log one finished file, if it is a known table or chart, or shows radiographs and that was asked for."""
        if run_record.is_shareable(path, self.pictures):
            self.attempt(self.client.log_artifact, self.run_id, str(path))

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in values.items()]
        self.attempt(self.client.log_batch, self.run_id, tags=tags)

    @contextmanager
    def nested(self, name: str) -> Iterator[RunObserver]:
        """A child run, created or resumed, that ends with the block."""
        child = RunObserver(self.client, self._open_child_run(name), self.result / name, self.pictures)
        try:
            yield child
        except BaseException:
            close_run(child, "FAILED")
            raise
        close_run(child, "FINISHED")

    def _open_child_run(self, name: str) -> str:
        """Id of the child run of this name, created if missing."""
        experiment = self.client.get_run(self.run_id).info.experiment_id
        is_child = f"tags.`mlflow.parentRunId` = '{self.run_id}'"
        for run in self.client.search_runs([experiment], is_child):
            if run.info.run_name == name:
                return str(run.info.run_id)
        tags = {"mlflow.parentRunId": self.run_id}
        return str(self.client.create_run(experiment, tags=tags, run_name=name).info.run_id)

    def flush(self) -> None:
        """Write the queued metrics; they stay queued while the store is unreachable."""
        self._last_flush = time.monotonic()
        while self._pending_metrics:
            batch = self._pending_metrics[:METRIC_BATCH_SIZE]
            if not self.attempt(self.client.log_batch, self.run_id, metrics=batch):
                return
            del self._pending_metrics[: len(batch)]

    def _write_run_id(self) -> None:
        """Write the run's id to the result folder, once the stage has created that folder."""
        path = self.result / RUN_ID_FILE
        if self.result.is_dir() and not path.exists():
            with suppress(OSError):
                path.write_text(self.run_id + "\n", encoding="ascii")

    def attempt(self, call: Any, *args: Any, **values: Any) -> bool:
        """Call the store; True if the write succeeded."""
        try:
            call(*args, **values)
        except Exception as error:  # no error of a store may end hours of training
            if not self._warned:
                name = type(error).__name__
                print(f"medprior: MLflow did not take a write ({name})", file=sys.stderr)
            self._warned = True
            return False
        return True


@contextmanager
def track_stage(
    stage: str,
    experiment: str,
    tracking_uri: str | None,
    result: Path,
    pictures: bool = False,
    run_name: str | None = None,
) -> Iterator[RunObserver]:
    """Run the block as one MLflow run, and end the run with the block's outcome.

    The run ends FINISHED, FAILED on an error, or KILLED on Ctrl-C, SIGTERM and an exit. A stage that
    resumes a result folder with an unfinished run resumes that run.

    Args:
        stage: the stage's name.
        experiment: MLflow experiment, created if missing.
        tracking_uri: MLflow store; None for MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        result: the stage's result folder, which need not exist yet; its name is not logged.
        pictures: log figures and reports that show radiographs, too.
        run_name: part of the run's name.

    Raises:
        MedpriorError: the store cannot be used.
    """
    client = mlflow_store.connect_to_store(tracking_uri)
    run_id = open_run(client, stage, mlflow_store.ensure_experiment(client, experiment), result, run_name)
    observer = RunObserver(client, run_id, result, pictures)
    try:
        with exit_on_sigterm():
            yield observer
        run_record.log_result_folder(observer, stage, result)
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        close_run(observer, "KILLED")
        raise
    except BaseException as error:
        observer.tags({"medprior.error": describe_error(error)})
        close_run(observer, "FAILED")
        raise
    close_run(observer, "FINISHED")


def open_run(client: MlflowClient, stage: str, experiment: str, result: Path, run_name: str | None) -> str:
    """Id of the run to write to: the folder's unfinished run, else a new one."""
    from mlflow.exceptions import MlflowException

    unfinished = find_unfinished_run(client, result)
    if unfinished is not None:
        client.update_run(unfinished, status="RUNNING")
        with suppress(MlflowException):
            client.delete_tag(unfinished, "medprior.error")
        client.set_tag(unfinished, "medprior.resumed", datetime.now(UTC).isoformat(timespec="seconds"))
        return unfinished
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    tags = {"medprior.stage": stage, "medprior.version": medprior.__version__}
    commit = find_git_commit()
    if commit:
        tags |= {"mlflow.source.git.commit": commit, "git_commit": commit}
    tags["mlflow.source.name"] = f"medprior {stage}"
    # Not the folder's name: people name folders after patients.
    words = [stage, mlflow_store.slugify_name(run_name)] if run_name else [stage]
    name = "-".join([*words, f"{started}Z"])
    return str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)


def find_unfinished_run(client: MlflowClient, result: Path) -> str | None:
    """Id of the run recorded in `result`, if this store has it and it is not finished."""
    path = result / RUN_ID_FILE
    if not path.is_file():
        return None
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(path.read_text(encoding="ascii", errors="replace").strip()[:64])
    except MlflowException:
        run = None  # recorded in another store, or deleted
    if run is None or run.info.lifecycle_stage != "active" or run.info.status == "FINISHED":
        path.unlink(missing_ok=True)
        return None
    return str(run.info.run_id)


def close_run(observer: RunObserver, status: str) -> None:
    """Write the queued metrics and end the run; remove the run's id file when it is finished."""
    observer.flush()
    observer.attempt(observer.client.set_terminated, observer.run_id, status)
    if status == "FINISHED":
        (observer.result / RUN_ID_FILE).unlink(missing_ok=True)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit with status 143, unless the stage has a handler of its own."""

    def exit_with_status(number: int, frame: FrameType | None) -> None:
        """Exit with the signal's status."""
        raise SystemExit(128 + number)

    is_main_thread = threading.current_thread() is threading.main_thread()
    if not is_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, exit_with_status)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def describe_error(error: BaseException) -> str:
    """An error in one line without data: its class, and the last line of medprior's code in its trace.

    Messages of other libraries are omitted: they may hold file names or values of a file.
    """
    name = type(error).__name__
    if isinstance(error, Rejected):
        return f"{name}: {error.code}"
    if isinstance(error, MedpriorError):
        return f"{name}: {error.what[:200]}"
    places = [
        f"{frame.name}, line {frame.lineno} of {Path(frame.filename).name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(Path(medprior.__file__).parent) and frame.filename != __file__
    ]
    return f"{name} in {places[-1]}" if places else name


def flatten_settings(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested settings as `section.key` -> text; a list stays one value."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = mlflow_store.clean_metric_name(f"{prefix}{key}")
        if isinstance(value, Mapping) and value:
            flat |= flatten_settings(value, f"{prefix}{key}.")
        else:
            flat[name] = str(value)
    return flat
