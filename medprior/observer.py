"""Protocol for reports of a running stage; `medprior.tracking.mlflow_run` logs them to MLflow."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm


class Observer(Protocol):
    """Receives the reports of a stage. Values must be free of patient data and source paths."""

    def params(self, values: Mapping[str, object]) -> None:
        """Record the settings of the run; called once."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record metrics of one step; NaN means unknown."""

    def artifact(self, path: Path) -> None:
        """Store a finished file with the run."""


class NullObserver:
    """An observer that discards all reports."""

    def params(self, values: Mapping[str, object]) -> None:
        """Ignore settings."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Ignore numbers."""

    def artifact(self, path: Path) -> None:
        """Ignore files."""


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> tqdm[Any]:
    """A tqdm progress bar on stderr, updated every ten seconds where stderr is no terminal."""
    interval_seconds = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(items, mininterval=interval_seconds, **options)
