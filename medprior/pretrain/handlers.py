"""Handlers of the trainer: progress, metrics, health checks, checkpoints."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from ignite.engine import Events
from torch import Tensor, distributed

from medprior.errors import TrainingFailed
from medprior.networks.checkpoint import load_newest_checkpoint, save_checkpoint
from medprior.observer import Observer, progress_bar
from medprior.pretrain.distributed import build_host_group, find_largest_number, process_rank, wait_for_processes
from medprior.provenance import atomic_write

if TYPE_CHECKING:
    from tqdm import tqdm

    from medprior.pretrain.trainer import PretrainTrainer


class MetricsHandler:
    """Means over windows of steps, to `metrics.csv`, to the observer, and to the progress bar.

    Args:
        folder: result folder. observer: receives every window. names: structures of the prior.
    """

    def __init__(self, folder: Path, observer: Observer, names: tuple[str, ...]) -> None:
        self.path = folder / "metrics.csv"
        self.observer = observer
        self.names = names
        self.rows: list[dict[str, float]] = []
        self.window: list[Mapping[str, float]] = []
        self._columns: list[str] = []
        self._since = self._loaded = time.perf_counter()
        self._waited = 0.0
        self._bar: tqdm[Any] | None = None

    def attach(self, engine: PretrainTrainer) -> None:
        """Listen to the trainer."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._start_wait)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._record_wait)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count_step)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: PretrainTrainer) -> None:
        self._bar = progress_bar(
            total=engine.settings.steps, initial=engine.state.iteration, desc="pretrain",
            unit="step", disable=process_rank() > 0,
        )  # fmt: skip
        self._since = time.perf_counter()

    def _start_wait(self, engine: PretrainTrainer) -> None:
        self._loaded = time.perf_counter()

    def _record_wait(self, engine: PretrainTrainer) -> None:
        self._waited += time.perf_counter() - self._loaded

    def _count_step(self, engine: PretrainTrainer) -> None:
        self.window.append(engine.state.output)
        assert self._bar is not None
        self._bar.update()
        if len(self.window) >= engine.settings.window:
            self._close_window(engine)

    def _finish(self, engine: PretrainTrainer) -> None:
        if self.window:
            self._close_window(engine)
        assert self._bar is not None
        self._bar.close()

    def _name_column(self, engine: PretrainTrainer, key: str) -> str:
        """`span_kl_0` with the structure's name in place of its number."""
        for _, objective in engine.learner.named_objectives():
            key = objective.log_name(key, self.names)
        return key

    def _close_window(self, engine: PretrainTrainer) -> None:
        seconds = max(time.perf_counter() - self._since, 1e-9)
        keys = {key: None for logs in self.window for key in logs}
        row = {"step": float(engine.state.iteration)}
        for key in keys:
            row[self._name_column(engine, key)] = float(np.mean([logs[key] for logs in self.window if key in logs]))
        row["images_per_second"] = len(self.window) * engine.settings.batch / seconds
        row["data_wait"] = self._waited / seconds
        self.rows.append(row)
        self.window, self._waited, self._since = [], 0.0, time.perf_counter()
        if process_rank() == 0:
            self.observer.metrics({k: v for k, v in row.items() if k != "step"}, engine.state.iteration)
            self._write_row(row)
        assert self._bar is not None
        postfix: dict[str, Any] = {"entropy": f"{row['teacher_entropy']:.2f}"} if "teacher_entropy" in row else {}
        self._bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False, **postfix)

    def _write_row(self, row: dict[str, float]) -> None:
        """Append the last row; write the whole table for the first row of a process and for new columns."""
        if row.keys() <= set(self._columns) and self.path.is_file():
            with self.path.open("a") as file:
                file.write(format_metrics_csv(self._columns, [row], header=False))
            return
        write_metrics_csv(self.path, self.rows)
        self._columns = list_columns(self.rows)


class HealthHandler:
    """Stops a collapsed run, late in the run and after a lasting collapse (our choice).

    On small cohorts the teacher may assign all images to one prototype for a while (see RESULTS.md), so a single window
    does not count.

    Args:
        metrics: the windows. patience: share of the run before the first check. lasting: share of the run that a
            collapse must last.
    """

    def __init__(self, metrics: MetricsHandler, patience: float = 0.5, lasting: float = 0.15) -> None:
        self.metrics = metrics
        self.patience = patience
        self.lasting = lasting

    def attach(self, engine: PretrainTrainer) -> None:
        """Listen to the trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._check)

    def _check(self, engine: PretrainTrainer) -> None:
        if not self.metrics.rows or engine.progress() < self.patience:
            return
        now = engine.state.iteration
        if self.metrics.rows[-1]["step"] != now:
            return
        assert engine.settings.steps is not None
        since = now - self.lasting * engine.settings.steps
        late = [row for row in self.metrics.rows if row["step"] > since]
        for _, objective in engine.learner.named_objectives():
            objective.check_health(late, now)


class CheckpointHandler:
    """Saves now and then, at the end and on SIGTERM or SIGINT; restores on start.

    Between these the file is written by a thread while training goes on from the copied state. Use it as a context
    manager around the run, so that the last file is whole when the block ends.

    A signal to one of several processes stops all of them after the same step.

    Args:
        folder: `checkpoints/` of the result folder.
        metrics: its rows are saved with the state, so that `metrics.csv` continues.
    """

    def __init__(self, folder: Path, metrics: MetricsHandler) -> None:
        self.folder = folder
        self.metrics = metrics
        self._stop = 0
        self._hosts: distributed.ProcessGroup | None = None
        self._saved, self._step = time.monotonic(), -1
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[Path] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.finish_writing()
        except TrainingFailed:
            if kind is None:  # else the run has failed already, and says why
                raise

    def attach(self, engine: PretrainTrainer) -> None:
        """Listen to the trainer."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._save_if_due)
        engine.add_event_handler(Events.COMPLETED, lambda e: self.save(e))

    def _start(self, engine: PretrainTrainer) -> None:
        self._saved, self._hosts = time.monotonic(), build_host_group()

    def restore(self, engine: PretrainTrainer) -> int:
        """Continue from the newest checkpoint; returns the number of finished steps."""
        state = load_newest_checkpoint(self.folder)
        if state is None:
            return 0
        if state.get("settings") != engine.settings.model_dump_json():
            raise TrainingFailed(
                "the unfinished run in this folder has other settings",
                fix="use the same settings, or another output folder",
            )
        engine.learner.load_state_dict(state["learner"])
        engine.load_optimiser_state(state["optimiser"])
        engine.skipped, engine.skipped_steps = state["skipped"]
        self.metrics.rows, self.metrics.window = list(state["rows"]), list(state["window"])
        step = int(state["step"])
        length = engine.state.epoch_length
        engine.state.iteration, engine.state.epoch = step, step // length
        engine.sampler.start = step
        return step

    def save(self, engine: PretrainTrainer) -> None:
        """Write the state after the current step, and return when it is on disk.

        Raises:
            TrainingFailed: the disk refuses the file; earlier checkpoints are untouched.
        """
        if self._step != engine.state.iteration:
            self._start_writing(engine)
        self.finish_writing()

    def _start_writing(self, engine: PretrainTrainer) -> None:
        """Copy the state after the current step to the host, and write it in the background."""
        self.finish_writing()
        self._saved, self._step = time.monotonic(), engine.state.iteration
        if process_rank() > 0:
            return
        engine.read_deferred_logs()
        state = {
            "step": engine.state.iteration,
            "settings": engine.settings.model_dump_json(),
            "learner": engine.learner.state_dict(),
            "optimiser": engine.optimiser.state_dict(),
            "skipped": [engine.skipped, engine.skipped_steps],
            "rows": self.metrics.rows,
            "window": [dict(logs) for logs in self.metrics.window],
        }
        if self._writer is None:
            self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing = self._writer.submit(save_checkpoint, self.folder, engine.state.iteration, copy_to_host(state))

    def finish_writing(self) -> None:
        """Wait for the file that is being written, if there is one.

        Raises:
            TrainingFailed: the disk refuses it.
        """
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except (OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "writing failed"
            raise TrainingFailed(
                f"a checkpoint cannot be written ({reason})",
                where=self.folder.parent.name,
                fix="make room and run the same command again: it goes on from the last checkpoint",
            ) from None

    def stop_after_step(self, number: int, _: object = None) -> None:
        """Signal handler: finish the step, save, exit with 128 + number; a second exits at once."""
        if self._stop:
            raise SystemExit(128 + number)
        self._stop = number

    def _save_if_due(self, engine: PretrainTrainer) -> None:
        stop = find_largest_number(self._stop, self._hosts)
        if stop:
            self.save(engine)
            wait_for_processes()  # a launcher ends the others when the first exits, also while one is writing
            raise SystemExit(128 + stop)
        if self._writing is not None and self._writing.done():
            self.finish_writing()
        steps, seconds = engine.settings.checkpoint_every, engine.settings.checkpoint_seconds
        if (time.monotonic() - self._saved >= seconds) if steps is None else engine.state.iteration % steps == 0:
            self._start_writing(engine)


def copy_to_host(state: Any) -> Any:
    """Nested mappings and lists with every tensor copied to the CPU; other values as they are."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, Mapping):
        return {key: copy_to_host(value) for key, value in state.items()}
    if isinstance(state, list):
        return [copy_to_host(value) for value in state]
    return state


def write_metrics_csv(path: Path, rows: list[dict[str, float]]) -> None:
    """Write rows as CSV, atomically; columns in order of first appearance."""
    with atomic_write(path) as temporary:
        temporary.write_text(format_metrics_csv(list_columns(rows), rows, header=True))


def list_columns(rows: Sequence[dict[str, float]]) -> list[str]:
    """Keys of all rows in order of first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def format_metrics_csv(names: Sequence[str], rows: Sequence[dict[str, float]], header: bool) -> str:
    """Rows as lines of CSV with six significant digits; `nan` where a row lacks a column."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="nan", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in rows)
    return text.getvalue()
