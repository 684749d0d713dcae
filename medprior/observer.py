"""What a stage reports while it runs; `medprior.tracking.run_observer` logs it to MLflow."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm


class Observer(Protocol):
    """Receives what a stage reports. Values must be free of patient data and source paths."""

    def params(self, values: Mapping[str, object]) -> None:
        """Settings of the run, once."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at one step; NaN is allowed and means unknown."""

    def artifact(self, path: Path) -> None:
        """A finished file worth keeping with the run."""


class NullObserver:
    """An observer that keeps nothing."""

    def params(self, values: Mapping[str, object]) -> None:
        """Ignore settings."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Ignore numbers."""

    def artifact(self, path: Path) -> None:
        """Ignore files."""


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> tqdm[Any]:
    """A progress bar on stderr; `options` are tqdm's. In a log file a line every ten seconds."""
    pace = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(items, mininterval=pace, **options)
