"""Every run of a comparison as a run inside the observer's, where the observer has such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from medprior.evaluate.compare.cost import COST_FILE as COST
from medprior.evaluate.compare.failed_runs import read_failed_stages
from medprior.evaluate.compare.run import ComparisonRun
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.metrics.bootstrap import has_finite_value
from medprior.metrics.differences import Estimates
from medprior.observer import Observer


@runtime_checkable
class NestingObserver(Protocol):
    """An observer with runs inside its own."""

    def nested(self, name: str) -> AbstractContextManager[Observer]:
        """The run called `name`, begun with the block and ended with it."""


def log_nested_runs(observer: Observer, runs: Sequence[ComparisonRun], every: Sequence[Estimates]) -> None:
    """Arm, seed, numbers, cost and what was lost of each run; nothing to a plain observer."""
    if not isinstance(observer, NestingObserver):
        return
    for run, estimates in zip(runs, every, strict=True):
        with observer.nested(run.folder.name) as inside:
            inside.params({"seed": run.seed, **dump_arm_settings(run.arm)})
            records = {key: estimate.record() for key, estimate in estimates.items()}
            numbers = {key: record["value"] for key, record in records.items() if has_finite_value(record)}
            inside.metrics(numbers | {"lost_stages": float(len(read_failed_stages(run.folder)))}, 0)
            for path in (run.folder / COST, run.source / "backbone" / "metrics.csv"):
                if path.is_file():
                    inside.artifact(path)


def dump_arm_settings(arm: Arm) -> dict[str, Any]:
    """Settings of an arm, its prior by the folder's name alone."""
    values = arm.model_dump(mode="json")
    return values | {"prior": Path(arm.prior).name if arm.prior else None}


def dump_compare_settings(settings: CompareSettings) -> Mapping[str, Any]:
    """Settings of a comparison, priors by their folders' names alone."""
    values = settings.model_dump(mode="json")
    arms = {name: dump_arm_settings(arm) for name, arm in settings.arms.items()}
    return values | {"arms": arms}
