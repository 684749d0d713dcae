"""Wraps a stage as a MONAI engine for bundles and MONAI handlers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import torch
from monai.engines.workflow import Workflow
from torch import nn

from medprior.deploy.inference.predictor import Predictor
from medprior.errors import ConfigError

METRIC_FILES = ("summary.json", "metrics.json")


class StageEngine(Workflow):
    """An engine of one epoch with one iteration, which runs the whole stage.

    A stage reads and writes folders and has its own loop, workers and progress bar; MONAI handlers
    see its start, its end and, in `state.metrics`, the numbers it wrote or returned.

    Args:
        stage: runs the stage, as `medprior <stage>` does.
        out: the stage's result folder.
        device: device that `network` is moved to.
        network: the stage's network, if it has one.
        val_handlers: MONAI or ignite handlers.
    """

    def __init__(
        self,
        stage: Callable[[], Any],
        out: Path | str,
        device: torch.device | str = "cpu",
        network: nn.Module | None = None,
        val_handlers: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=1,
            data_loader=[0],
            epoch_length=1,
            iteration_update=self._run_stage,
            handlers=val_handlers,
            decollate=False,
        )
        self.stage, self.out = stage, Path(out)
        if network is not None:
            network.to(self.state.device)

    def _run_stage(self, engine: Any, batch: Any) -> list[dict[str, float]]:
        result = self.stage()
        returned = flatten_numbers(vars(result)) if is_dataclass(result) else {}
        self.state.metrics = load_result_numbers(self.out) | returned
        return [self.state.metrics]


def load_result_numbers(folder: Path) -> dict[str, float]:
    """The numbers of a result folder's `summary.json` and `metrics.json`, under dotted keys."""
    numbers: dict[str, float] = {}
    for name in METRIC_FILES:
        path = folder / name
        if path.is_file():
            numbers |= flatten_numbers(json.loads(path.read_text("utf-8")))
    return numbers


def flatten_numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of nested mappings, under dotted keys; `key.value` becomes `key`."""
    numbers: dict[str, float] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            numbers |= flatten_numbers(value, f"{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[name.removesuffix(".value")] = float(value)
    return numbers


def get_task_network(predictor: Predictor, task: str) -> nn.Module:
    """The network of a predictor's model for `task`.

    Raises:
        ConfigError: the model folder holds a model for another task.
    """
    if task not in predictor.models:
        raise ConfigError(
            "a model for another task",
            where="model_dir",
            expected=task,
            found=", ".join(predictor.models),
            fix=f"run `medprior finetune --task {task}`, or use the other bundle",
        )
    return predictor.models[task].network
