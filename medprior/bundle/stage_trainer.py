"""Adapts the trainer of a training stage to MONAI's bundles and tracking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ignite.engine import Engine, Events
from monai.engines.trainer import Trainer

from medprior.errors import ConfigError


class TrainingStage(Protocol):
    """A training stage, such as `medprior.pretrain.Pretraining`."""

    trainer: Trainer


def get_stage_trainer(stage: TrainingStage, max_epochs: int | None) -> Trainer:
    """The stage's trainer, for `train#trainer`.

    Args:
        stage: built with `max_epochs` in its settings.
        max_epochs: value of the config; None takes that of the settings.

    Raises:
        ConfigError: the settings give another number of epochs.
    """
    epochs = stage.trainer.state.max_epochs
    if max_epochs is not None and epochs != max_epochs:
        raise ConfigError(
            "epochs and settings#steps disagree",
            where="bundle",
            expected=f"{max_epochs} epochs",
            found=str(epochs),
            fix="give one of them, and --epochs None with --settings#steps",
        )
    return stage.trainer


class TrackingOutputHandler:
    """Converts an engine's output to the form that MONAI's `--tracking mlflow` reads.

    Tracking expects a decollated list; our engines do not decollate. The floats of the output also
    become `state.metrics`, which tracking logs after each epoch. Attach it directly before tracking,
    so that all other handlers see the unchanged output.
    """

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.convert)

    def convert(self, engine: Engine) -> None:
        """Replace `engine.state.output` by a list that holds it."""
        state: Any = engine.state
        if isinstance(state.output, Mapping):
            state.metrics.update({k: v for k, v in state.output.items() if isinstance(v, float)})
            state.output = [dict(state.output)]
