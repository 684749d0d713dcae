"""The trainer of a training stage under the names that MONAI's bundles and tracking expect."""

from __future__ import annotations

from typing import Any, Protocol

from ignite.engine import Engine, Events
from monai.engines.trainer import Trainer

from medprior.errors import ConfigError


class TrainingStage(Protocol):
    """A stage that trains, such as `medprior.pretrain.Pretraining`."""

    trainer: Trainer


def get_stage_trainer(stage: TrainingStage, max_epochs: int | None) -> Trainer:
    """The stage's trainer, for `train#trainer`.

    Args:
        stage: built with `max_epochs` in its settings.
        max_epochs: what the config says; None leaves it to the settings.

    Raises:
        ConfigError: the settings lead to another number of epochs.
    """
    found = stage.trainer.state.max_epochs
    if max_epochs is not None and found != max_epochs:
        raise ConfigError(
            "epochs and settings#steps disagree",
            where="bundle",
            expected=f"{max_epochs} epochs",
            found=str(found),
            fix="give one of them, and --epochs None with --settings#steps",
        )
    return stage.trainer


class TrackingOutputHandler:
    """Turns an engine's output into what MONAI's `--tracking mlflow` reads.

    That expects a decollated list; our engines do not decollate, as nothing would use it. The plain
    numbers of the output also become `state.metrics`, which tracking logs after each epoch.
    Stands last but for tracking, so that all other handlers see the output as it was.
    """

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.convert)

    def convert(self, engine: Engine) -> None:
        """Replace `engine.state.output` by a list of itself."""
        state: Any = engine.state
        if isinstance(state.output, dict):
            state.metrics.update({k: v for k, v in state.output.items() if isinstance(v, float)})
            state.output = [state.output]
