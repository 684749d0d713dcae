"""Every run of a comparison as a run inside the observer's, where the observer has such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from medprior.evaluate.compare.cost import FILE as COST
from medprior.evaluate.compare.failed_runs import lost_stages
from medprior.evaluate.compare.run import Run
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.metrics.bootstrap import usable
from medprior.metrics.differences import Estimates
from medprior.observer import Observer


@runtime_checkable
class Nesting(Protocol):
    """An observer with runs inside its own."""

    def nested(self, name: str) -> AbstractContextManager[Observer]:
        """The run called `name`, begun with the block and ended with it."""


def tell_of_runs(observer: Observer, runs: Sequence[Run], every: Sequence[Estimates]) -> None:
    """Arm, seed, numbers, cost and what was lost of each run; nothing to a plain observer."""
    if not isinstance(observer, Nesting):
        return
    for run, estimates in zip(runs, every, strict=True):
        with observer.nested(run.folder.name) as inside:
            inside.params({"seed": run.seed, **named_arm(run.arm)})
            records = {key: estimate.record() for key, estimate in estimates.items()}
            numbers = {key: record["value"] for key, record in records.items() if usable(record)}
            inside.metrics(numbers | {"lost_stages": float(len(lost_stages(run.folder)))}, 0)
            for path in (run.folder / COST, run.source / "backbone" / "metrics.csv"):
                if path.is_file():
                    inside.artifact(path)


def named_arm(arm: Arm) -> dict[str, Any]:
    """Settings of an arm, its prior by the folder's name alone."""
    values = arm.model_dump(mode="json")
    return values | {"prior": Path(arm.prior).name if arm.prior else None}


def named_settings(settings: CompareSettings) -> Mapping[str, Any]:
    """Settings of a comparison, priors by their folders' names alone."""
    values = settings.model_dump(mode="json")
    arms = {name: named_arm(arm) for name, arm in settings.arms.items()}
    return values | {"arms": arms}
