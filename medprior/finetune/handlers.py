"""Trainer handlers: schedule, best weights, metrics record and checkpoints."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.trainer import SupervisedTrainer
from torch import Tensor, nn
from tqdm import tqdm

from medprior.errors import MedpriorError, TrainingFailed
from medprior.finetune.data.epoch_sampler import STEP_STREAM, EpochSampler
from medprior.finetune.data.views import PrepareWholeViews
from medprior.finetune.engine import GuardedStep, unwrap_network
from medprior.finetune.interrupts import StopRequest
from medprior.finetune.optimiser import set_learning_rates
from medprior.finetune.settings import FinetuneSettings
from medprior.networks.checkpoint import load_newest_checkpoint, save_checkpoint
from medprior.observer import Observer, progress_bar
from medprior.pretrain.distributed import process_rank
from medprior.pretrain.handlers import write_metrics_csv


@dataclass
class TrainingProgress:
    """The state of a run besides weights and optimiser, stored in its checkpoints.

    Attributes:
        rows: one per finished epoch. loss_sum, steps: of the current epoch.
        best: copy of the network's state dict at the best validation so far, on the CPU.
        best_score, best_loss, best_epoch: key metric, loss and epoch of that validation.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    loss_sum: float = 0.0
    steps: int = 0
    best: dict[str, Tensor] | None = None
    best_score: float = -math.inf
    best_loss: float = math.inf
    best_epoch: int = 0


class ScheduleHandler:
    """Sets image order, augmentation, random seed and learning rate as functions of epoch and step."""

    def __init__(self, settings: FinetuneSettings) -> None:
        self.settings = settings

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.ITERATION_STARTED, self._start_step)

    def _start_epoch(self, engine: Any) -> None:
        sampler, views = engine.data_loader.sampler, engine.prepare_batch
        assert isinstance(sampler, EpochSampler)
        assert isinstance(views, PrepareWholeViews)
        completed_steps = engine.state.iteration % engine.state.epoch_length
        sampler.epoch = views.epoch = engine.state.epoch
        sampler.skip = completed_steps * self.settings.batch

    def _start_step(self, engine: Any) -> None:
        step = engine.state.iteration - 1
        stream = np.random.SeedSequence([self.settings.seed, STEP_STREAM, step, process_rank()])
        torch.manual_seed(int(stream.generate_state(1, np.uint32)[0]))
        total = engine.state.epoch_length * engine.state.max_epochs
        set_learning_rates(engine.optimizer, self.settings, (step + 1) / total)


class BestWeightsHandler:
    """Copies the network when validation improves: a higher key metric, or the same at a lower loss.

    A key metric of NaN is never an improvement. With `keep_last`, for runs without validation
    images, every epoch replaces the previous one whatever its metric.
    """

    def __init__(self, evaluator: SupervisedEvaluator, progress: TrainingProgress, keep_last: bool = False) -> None:
        self.evaluator = evaluator
        self.progress = progress
        self.keep_last = keep_last

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with the trainer; attach after the validation handler."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._compare)

    def _compare(self, engine: Any) -> None:
        state, progress = self.evaluator.state, self.progress
        score, loss = state.metrics[state.key_metric_name], state.metrics["loss"]
        if math.isnan(score) and not self.keep_last:
            return
        if self.keep_last or (score, -loss) > (progress.best_score, -progress.best_loss):
            progress.best_score, progress.best_loss = score, loss
            progress.best_epoch = engine.state.epoch
            weights = unwrap_network(engine.network).state_dict()
            progress.best = {k: v.detach().cpu().clone() for k, v in weights.items()}


class MetricsRecorder:
    """Writes one row per epoch to `metrics.csv`, the observer and the progress bar."""

    def __init__(
        self, folder: Path, observer: Observer, evaluator: SupervisedEvaluator, progress: TrainingProgress
    ) -> None:
        self.path = folder / "metrics.csv"
        self.observer = observer
        self.evaluator = evaluator
        self.progress = progress
        self._bar: tqdm[Any] | None = None
        self._epoch_start = 0.0

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with the trainer; attach after the validation handler."""
        engine.add_event_handler(Events.STARTED, self._open_bar)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write_row)

    def _open_bar(self, engine: Any) -> None:
        total = engine.state.epoch_length * engine.state.max_epochs
        self._bar = progress_bar(
            total=total,
            initial=engine.state.iteration,
            desc="finetune",
            unit="step",
            disable=process_rank() > 0,
        )

    def _start_epoch(self, engine: Any) -> None:
        self._epoch_start = time.perf_counter()

    def _add_step(self, engine: Any) -> None:
        self.progress.loss_sum += float(engine.state.output["loss"])
        self.progress.steps += 1
        if self._bar is not None:
            self._bar.update()

    def _write_row(self, engine: Any) -> None:
        progress, validation = self.progress, self.evaluator.state
        row = {
            "epoch": float(engine.state.epoch),
            "step": float(engine.state.iteration),
            "train_loss": progress.loss_sum / max(progress.steps, 1),
            "val_loss": float(validation.metrics["loss"]),
            f"val_{validation.key_metric_name}": float(validation.metrics[validation.key_metric_name]),
            "lr": max(group["lr"] for group in engine.optimizer.param_groups),
            "skipped_steps": float(engine._process_function.skipped),
            "seconds": time.perf_counter() - self._epoch_start,
        }
        progress.loss_sum, progress.steps = 0.0, 0
        progress.rows.append(row)
        if process_rank() == 0:
            write_metrics_csv(self.path, progress.rows)
            metrics = {k: v for k, v in row.items() if k not in ("epoch", "step")}
            self.observer.metrics(metrics, int(row["step"]))
        if self._bar is not None:
            self._bar.set_postfix(
                loss=f"{row['train_loss']:.3f}",
                best=f"{progress.best_score:.3f}",
                refresh=False,
            )
            if engine.state.epoch == engine.state.max_epochs:
                self._bar.close()


class FinetuneCheckpointHandler:
    """Saves checkpoints after epochs, at the end and on a stop request; restores the newest one.

    Args:
        folder: `checkpoints/` of the model folder.
        settings: of the run.
        fingerprint: of settings, data and backbone; a run resumes only with the same one.
        progress: saved with the state.
        stop: set by SIGTERM or SIGINT.
    """

    def __init__(
        self,
        folder: Path,
        settings: FinetuneSettings,
        fingerprint: str,
        progress: TrainingProgress,
        stop: StopRequest,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.fingerprint = fingerprint
        self.progress = progress
        self.stop = stop

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with the trainer; attach last, so that a checkpoint holds the whole epoch."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._after_epoch)

    def _after_step(self, engine: Any) -> None:
        within_epoch = engine.state.iteration % engine.state.epoch_length
        if self.stop and within_epoch:
            self.save(engine)
            self.stop.exit()

    def _after_epoch(self, engine: Any) -> None:
        last = engine.state.epoch == engine.state.max_epochs
        if last or self.stop or engine.state.epoch % self.settings.checkpoint_every == 0:
            self.save(engine)
        if self.stop:
            self.stop.exit()

    def save(self, engine: Any) -> None:
        """Write the state after the current step.

        Raises:
            TrainingFailed: writing fails; earlier checkpoints are untouched.
        """
        if process_rank() > 0:
            return
        step: GuardedStep = engine._process_function
        state = {
            "fingerprint": self.fingerprint,
            "step": engine.state.iteration,
            "network": unwrap_network(engine.network).state_dict(),
            "optimiser": engine.optimizer.state_dict(),
            "skipped": [step.skipped, step.skipped_in_a_row],
            "progress": vars(self.progress),
        }
        try:
            save_checkpoint(self.folder, engine.state.iteration, state, self.settings.keep_checkpoints)
        except (OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "writing failed"
            raise TrainingFailed(
                f"a checkpoint cannot be written ({reason})",
                where=self.folder.parent.name,
                fix="free disk space and run the same command again: it resumes from the last checkpoint",
            ) from None

    def restore(self, engine: SupervisedTrainer) -> bool:
        """Restore the newest valid checkpoint; False if there is none.

        Raises:
            MedpriorError: the run in this folder has other settings or data.
        """
        state = load_newest_checkpoint(self.folder)
        if state is None:
            return False
        if state.get("fingerprint") != self.fingerprint:
            raise MedpriorError(
                "the run in this folder has other settings, data or backbone",
                where=self.folder.parent.name,
                fix="repeat its command to resume it, choose another folder, or remove this one",
            )
        unwrap_network(engine.network).load_state_dict(state["network"])
        engine.optimizer.load_state_dict(state["optimiser"])
        step: Any = engine._process_function
        step.skipped, step.skipped_in_a_row = state["skipped"]
        vars(self.progress).update(state["progress"])
        engine.state.iteration = state["step"]
        engine.state.epoch = state["step"] // engine.state.epoch_length
        return True


def is_training_finished(engine: SupervisedTrainer) -> bool:
    """Whether all steps are done."""
    state = engine.state
    return bool(state.iteration >= state.epoch_length * state.max_epochs)


def has_finite_weights(network: nn.Module) -> bool:
    """Whether every floating-point value of the network's state is finite."""
    values = network.state_dict().values()
    return all(bool(torch.isfinite(v).all()) for v in values if v.is_floating_point())
