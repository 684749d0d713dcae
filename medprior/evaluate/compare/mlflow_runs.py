"""Logging of every run of a comparison as a nested MLflow run, if the observer supports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from medprior.evaluate.compare.cost import COST_FILE
from medprior.evaluate.compare.failed_runs import read_failed_stages
from medprior.evaluate.compare.run import ComparisonRun
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.metrics.bootstrap import has_finite_value
from medprior.metrics.differences import Estimates
from medprior.observer import Observer


@runtime_checkable
class NestingObserver(Protocol):
    """An observer that supports nested runs."""

    def nested(self, name: str) -> AbstractContextManager[Observer]:
        """Context manager of the nested run `name`."""


def log_nested_runs(observer: Observer, runs: Sequence[ComparisonRun], run_estimates: Sequence[Estimates]) -> None:
    """Log arm, seed, metrics, cost and failed stages of each run; no-op for other observers."""
    if not isinstance(observer, NestingObserver):
        return
    for run, estimates in zip(runs, run_estimates, strict=True):
        with observer.nested(run.folder.name) as nested:
            nested.params({"seed": run.seed, **dump_arm_settings(run.arm)})
            records = {key: estimate.record() for key, estimate in estimates.items()}
            numbers = {key: record["value"] for key, record in records.items() if has_finite_value(record)}
            nested.metrics(numbers | {"lost_stages": float(len(read_failed_stages(run.folder)))}, 0)
            for path in (run.folder / COST_FILE, run.source / "backbone" / "metrics.csv"):
                if path.is_file():
                    nested.artifact(path)


def dump_arm_settings(arm: Arm) -> dict[str, Any]:
    """Settings of an arm, with its prior as folder name."""
    values = arm.model_dump(mode="json")
    return values | {"prior": Path(arm.prior).name if arm.prior else None}


def dump_compare_settings(settings: CompareSettings) -> Mapping[str, Any]:
    """Settings of a comparison, with priors as folder names."""
    values = settings.model_dump(mode="json")
    arms = {name: dump_arm_settings(arm) for name, arm in settings.arms.items()}
    return values | {"arms": arms}
