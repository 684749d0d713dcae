"""Failed runs: collapsed or diverged stages, recorded in `failed.json` and not repeated."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medprior.errors import TrainingCollapsed, TrainingDiverged, TrainingFailed
from medprior.provenance import write_json
from medprior.settings import read_mapping

FAILED_FILE = "failed.json"
BACKBONE_STAGE = "backbone"
FAILURE_KINDS = {TrainingCollapsed: "collapsed", TrainingDiverged: "diverged"}
FailedStages = dict[str, dict[str, Any]]


def read_failed_stages(run: Path) -> FailedStages:
    """Stage -> its failure (`kind`, `reason`, `step`); empty for a run without failures."""
    path = run / FAILED_FILE
    return read_mapping(path) if path.is_file() else {}


def record_failure(run: Path, stage: str, error: TrainingFailed) -> None:
    """Record in the run's folder that `stage` collapsed or diverged.

    Raises:
        TrainingFailed: `error` itself, if it is of another kind.
    """
    kind = FAILURE_KINDS.get(type(error))
    if kind is None:
        raise error  # a full disk or too little memory is no result
    failure = {
        "kind": kind,
        "reason": str(error),
        "step": find_failed_step(error, run / stage),
    }
    write_json(run / FAILED_FILE, read_failed_stages(run) | {stage: failure})


def has_failed_backbone(run: Path, source: Path) -> bool:
    """Whether the backbone in `source` failed; the failure is recorded in `run` as well."""
    failure = read_failed_stages(source).get(BACKBONE_STAGE)
    if failure is not None and run != source:
        write_json(run / FAILED_FILE, {BACKBONE_STAGE: failure})
    return failure is not None


def find_failed_step(error: TrainingFailed, folder: Path) -> int | None:
    """Step at which a stage stopped: from the error, else the last in `metrics.csv`."""
    match = re.search(r"\bat step (\d+)", error.what)
    if match:
        return int(match[1])
    path = folder / "metrics.csv"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    return int(table["step"].iloc[-1]) if "step" in table and len(table) else None


def clear_failed_stages(run: Path) -> None:
    """Remove the folders of failed stages with their checkpoints, so that they run again."""
    for stage in read_failed_stages(run):
        shutil.rmtree(run / stage, ignore_errors=True)
    (run / FAILED_FILE).unlink(missing_ok=True)


def list_failures(stages: Sequence[Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row per failed stage of an arm: seed, stage, kind, step and reason."""
    return [
        {"seed": seed, "stage": stage, **failure}
        for seed, failed in enumerate(stages)
        for stage, failure in sorted(failed.items())
    ]


def format_failures(record: Mapping[str, Any] | None) -> str:
    """`1 of 3 collapsed`, or "" without failures; `record` is that of `runs.lost`."""
    counts: dict[str, int] = {}
    for row in (record or {}).get("failures", ()):
        stage = "" if row["stage"] == BACKBONE_STAGE else f" in {row['stage']}"
        counts[f"{row['kind']}{stage}"] = counts.get(f"{row['kind']}{stage}", 0) + 1
    total = record["of"] if record else 0
    return ", ".join(f"{count} of {total} {reason}" for reason, count in counts.items())
