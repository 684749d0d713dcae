"""Every stage is an MLflow run: settings, live numbers, the cohort it read, and its figures."""

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

    A store that stops answering costs the numbers of that time, never the stage: what could not be
    written is kept and tried again, and a last failure is one line on stderr.
    """

    def __init__(self, client: MlflowClient, run_id: str, result: Path) -> None:
        self.client, self.run_id, self.result = client, run_id, result
        self._known: dict[str, str] = dict(client.get_run(run_id).data.params)
        self._pending_metrics: list[Any] = []
        self._last_flush = time.monotonic()
        self._warned = False

    def params(self, values: Mapping[str, object]) -> None:
        """Log settings; one that a resumed run changed becomes the tag `resumed.<key>`."""
        from mlflow.entities import Param, RunTag

        self._remember()
        texts = {key: text[:MAX_PARAM_LENGTH] for key, text in flatten_settings(values).items()}
        new = [Param(key, text) for key, text in texts.items() if key not in self._known]
        changed = [RunTag(f"resumed.{key}", text) for key, text in texts.items() if self._known.get(key, text) != text]
        self._known |= {item.key: item.value for item in new}
        for start in range(0, len(new), 100):  # MLflow takes at most 100 at once
            self.attempt(self.client.log_batch, self.run_id, params=new[start : start + 100])
        for start in range(0, len(changed), 100):
            self.attempt(self.client.log_batch, self.run_id, tags=changed[start : start + 100])

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep numbers for the next write; NaN is written as it is."""
        from mlflow.entities import Metric

        self._remember()
        now = int(time.time() * 1000)
        self._pending_metrics += [
            Metric(mlflow_store.clean_metric_name(key), float(value), now, int(step)) for key, value in values.items()
        ]
        late = time.monotonic() - self._last_flush > FLUSH_SECONDS
        if late or len(self._pending_metrics) >= METRIC_BATCH_SIZE:
            self.flush()

    def artifact(self, path: Path) -> None:
        """Log one finished file; pixels, weights and private files are left out."""
        if run_record.is_shareable(path):
            self.attempt(self.client.log_artifact, self.run_id, str(path))

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in values.items()]
        self.attempt(self.client.log_batch, self.run_id, tags=tags)

    @contextmanager
    def nested(self, name: str) -> Iterator[RunObserver]:
        """A run inside this one, begun or gone on with, and ended with the block."""
        child = RunObserver(self.client, self._open_child_run(name), self.result / name)
        try:
            yield child
        except BaseException:
            close_run(child, "FAILED")
            raise
        close_run(child, "FINISHED")

    def _open_child_run(self, name: str) -> str:
        """Id of the run inside this one that has this name, made where there is none."""
        experiment = self.client.get_run(self.run_id).info.experiment_id
        inside = f"tags.`mlflow.parentRunId` = '{self.run_id}'"
        for run in self.client.search_runs([experiment], inside):
            if run.info.run_name == name:
                return str(run.info.run_id)
        tags = {"mlflow.parentRunId": self.run_id}
        return str(self.client.create_run(experiment, tags=tags, run_name=name).info.run_id)

    def flush(self) -> None:
        """Write the numbers that wait; those of an unreachable store wait on."""
        self._last_flush = time.monotonic()
        while self._pending_metrics:
            batch = self._pending_metrics[:METRIC_BATCH_SIZE]
            if not self.attempt(self.client.log_batch, self.run_id, metrics=batch):
                return
            del self._pending_metrics[: len(batch)]

    def _remember(self) -> None:
        """Leave the run's id in the result folder, once the stage has made that folder."""
        note = self.result / RUN_ID_FILE
        if self.result.is_dir() and not note.exists():
            with suppress(OSError):
                note.write_text(self.run_id + "\n", encoding="ascii")

    def attempt(self, call: Any, *args: Any, **values: Any) -> bool:
        """Call the store; True when it took the write."""
        try:
            call(*args, **values)
        except Exception as error:  # whatever a store raises must not end hours of training
            if not self._warned:
                name = type(error).__name__
                print(f"medprior: MLflow did not take a write ({name})", file=sys.stderr)
            self._warned = True
            return False
        return True


@contextmanager
def track_stage(stage: str, experiment: str, tracking_uri: str | None, result: Path) -> Iterator[RunObserver]:
    """Run the block as one MLflow run, and end that run as what the block came to.

    The run ends FINISHED, FAILED on an error, or KILLED on Ctrl-C, SIGTERM and an exit. A stage
    that goes on in a result folder with an unfinished run goes on in that run.

    Args:
        stage: the stage's name.
        experiment: MLflow experiment, made when missing.
        tracking_uri: MLflow store; None for MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        result: the stage's result folder (it need not exist yet).

    Raises:
        MedpriorError: the store cannot be used.
    """
    client = mlflow_store.connect_to_store(tracking_uri)
    run_id = open_run(client, stage, mlflow_store.ensure_experiment(client, experiment), result)
    observer = RunObserver(client, run_id, result)
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


def open_run(client: MlflowClient, stage: str, experiment: str, result: Path) -> str:
    """Id of the run to write to: the folder's unfinished one, else a new one with its own name."""
    from mlflow.exceptions import MlflowException

    old = find_unfinished_run(client, result)
    if old is not None:
        client.update_run(old, status="RUNNING")
        with suppress(MlflowException):
            client.delete_tag(old, "medprior.error")
        client.set_tag(old, "medprior.resumed", datetime.now(UTC).isoformat(timespec="seconds"))
        return old
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    tags = {"medprior.stage": stage, "medprior.version": medprior.__version__}
    commit = find_git_commit()
    if commit:
        tags |= {"mlflow.source.git.commit": commit, "git_commit": commit}
    tags["mlflow.source.name"] = f"medprior {stage}"
    name = f"{stage}-{mlflow_store.slugify_name(result.name)}-{started}Z"
    return str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)


def find_unfinished_run(client: MlflowClient, result: Path) -> str | None:
    """Id of the run that `result` was begun in, where this store has it and it is not done."""
    note = result / RUN_ID_FILE
    if not note.is_file():
        return None
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(note.read_text(encoding="ascii", errors="replace").strip()[:64])
    except MlflowException:
        run = None  # another store, or deleted there
    if run is None or run.info.lifecycle_stage != "active" or run.info.status == "FINISHED":
        note.unlink(missing_ok=True)
        return None
    return str(run.info.run_id)


def close_run(observer: RunObserver, status: str) -> None:
    """Write what waits and end the run; a finished one leaves no note in the result folder."""
    observer.flush()
    observer.attempt(observer.client.set_terminated, observer.run_id, status)
    if status == "FINISHED":
        (observer.result / RUN_ID_FILE).unlink(missing_ok=True)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit with status 143, where the stage has no handler of its own."""

    def leave(number: int, frame: FrameType | None) -> None:
        """Leave with the signal's exit status."""
        raise SystemExit(128 + number)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def describe_error(error: BaseException) -> str:
    """An error in one line without data: its kind, and our line of code that it left from.

    Messages stay out: those of other libraries may hold file names or values of a file.
    """
    name = type(error).__name__
    if isinstance(error, Rejected):
        return f"{name}: {error.code}"
    if isinstance(error, MedpriorError):
        return f"{name}: {error.what[:200]}"
    ours = [
        f"{frame.name}, line {frame.lineno} of {Path(frame.filename).name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(Path(medprior.__file__).parent) and frame.filename != __file__
    ]
    return f"{name} in {ours[-1]}" if ours else name


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
