"""Runs that stopped themselves: recorded in their folder, not repeated, and counted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medprior.errors import Collapsed, Diverged, TrainingFailed
from medprior.provenance import write_json
from medprior.settings import read_mapping

FILE = "failed.json"
BACKBONE = "backbone"
Lost = dict[str, dict[str, Any]]


def lost_stages(run: Path) -> Lost:
    """Folder of a stage -> how it was lost (`kind`, `reason`, `step`); empty for a sound run."""
    path = run / FILE
    return read_mapping(path) if path.is_file() else {}


def note_lost(run: Path, stage: str, error: TrainingFailed) -> None:
    """Record in the run's folder that `stage` stopped itself.

    Raises:
        TrainingFailed: `error` again, where it says nothing of the arm.
    """
    if not isinstance(error, (Collapsed, Diverged)):
        raise error  # a full disk or too little memory is no result
    found = {
        "kind": type(error).__name__.lower(),
        "reason": str(error),
        "step": step_of(error, run / stage),
    }
    write_json(run / FILE, lost_stages(run) | {stage: found})


def lost_backbone(run: Path, source: Path) -> bool:
    """Whether the backbone kept in `source` was lost; the run that shares it says so too."""
    lost = lost_stages(source).get(BACKBONE)
    if lost is not None and run != source:
        write_json(run / FILE, {BACKBONE: lost})
    return lost is not None


def step_of(error: TrainingFailed, folder: Path) -> int | None:
    """The step a stage stopped at: as the error says, else the last in `metrics.csv`."""
    said = re.search(r"\bat step (\d+)", error.what)
    if said:
        return int(said[1])
    path = folder / "metrics.csv"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    return int(table["step"].iloc[-1]) if "step" in table and len(table) else None


def forget_lost(run: Path) -> None:
    """Remove what a lost stage left, its checkpoints too, so that it begins again."""
    for stage in lost_stages(run):
        shutil.rmtree(run / stage, ignore_errors=True)
    (run / FILE).unlink(missing_ok=True)


def described(stages: Sequence[Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row per lost stage of an arm: seed, stage, kind, step and reason."""
    return [
        {"seed": seed, "stage": stage, **facts}
        for seed, lost in enumerate(stages)
        for stage, facts in sorted(lost.items())
    ]


def in_words(record: Mapping[str, Any] | None) -> str:
    """`1 of 3 collapsed`, or nothing where all runs are sound; `record` is that of `runs.lost`."""
    counted: dict[str, int] = {}
    for row in (record or {}).get("failures", ()):
        stage = "" if row["stage"] == BACKBONE else f" in {row['stage']}"
        counted[f"{row['kind']}{stage}"] = counted.get(f"{row['kind']}{stage}", 0) + 1
    of = record["of"] if record else 0
    return ", ".join(f"{number} of {of} {words}" for words, number in counted.items())
