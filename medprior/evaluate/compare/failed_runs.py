"""Runs that stopped themselves: recorded in their folder, not repeated, and counted."""

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
    """Folder of a stage -> how it was lost (`kind`, `reason`, `step`); empty for a sound run."""
    path = run / FAILED_FILE
    return read_mapping(path) if path.is_file() else {}


def record_failure(run: Path, stage: str, error: TrainingFailed) -> None:
    """Record in the run's folder that `stage` stopped itself.

    Raises:
        TrainingFailed: `error` again, where it says nothing of the arm.
    """
    kind = FAILURE_KINDS.get(type(error))
    if kind is None:
        raise error  # a full disk or too little memory is no result
    found = {
        "kind": kind,
        "reason": str(error),
        "step": find_failed_step(error, run / stage),
    }
    write_json(run / FAILED_FILE, read_failed_stages(run) | {stage: found})


def has_failed_backbone(run: Path, source: Path) -> bool:
    """Whether the backbone kept in `source` was lost; the run that shares it says so too."""
    lost = read_failed_stages(source).get(BACKBONE_STAGE)
    if lost is not None and run != source:
        write_json(run / FAILED_FILE, {BACKBONE_STAGE: lost})
    return lost is not None


def find_failed_step(error: TrainingFailed, folder: Path) -> int | None:
    """The step a stage stopped at: as the error says, else the last in `metrics.csv`."""
    said = re.search(r"\bat step (\d+)", error.what)
    if said:
        return int(said[1])
    path = folder / "metrics.csv"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    return int(table["step"].iloc[-1]) if "step" in table and len(table) else None


def clear_failed_stages(run: Path) -> None:
    """Remove what a lost stage left, its checkpoints too, so that it begins again."""
    for stage in read_failed_stages(run):
        shutil.rmtree(run / stage, ignore_errors=True)
    (run / FAILED_FILE).unlink(missing_ok=True)


def list_failures(stages: Sequence[Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row per lost stage of an arm: seed, stage, kind, step and reason."""
    return [
        {"seed": seed, "stage": stage, **facts}
        for seed, lost in enumerate(stages)
        for stage, facts in sorted(lost.items())
    ]


def format_failures(record: Mapping[str, Any] | None) -> str:
    """`1 of 3 collapsed`, or nothing where all runs are sound; `record` is that of `runs.lost`."""
    counted: dict[str, int] = {}
    for row in (record or {}).get("failures", ()):
        stage = "" if row["stage"] == BACKBONE_STAGE else f" in {row['stage']}"
        counted[f"{row['kind']}{stage}"] = counted.get(f"{row['kind']}{stage}", 0) + 1
    of = record["of"] if record else 0
    return ", ".join(f"{number} of {of} {words}" for words, number in counted.items())
