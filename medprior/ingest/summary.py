"""Counts files, metadata, labels and masks for `summary.json` and the last lines of an ingest."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medprior.cohort.columns import MASK_PREFIX, SPLITS, select_label_columns

MAX_LISTED_NAMES = 20  # a line of labels stays readable


def summarize_cohort(manifest: pd.DataFrame, outcomes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """JSON-able counts of a cohort; the same input gives the same summary.

    Args:
        manifest: the cohort's manifest.
        outcomes: records of `SourceJournal`, one per source.
    """
    codes = Counter(record["code"] or "accepted" for record in outcomes)
    flags = Counter(flag for cell in manifest["flags"] for flag in str(cell).split("|") if flag)
    age = manifest.age.dropna().to_numpy(dtype=np.float64)
    masks = [name for name in manifest.columns if name.startswith(MASK_PREFIX)]
    return {
        "files": {"read": sum(codes.values()), "accepted": codes.pop("accepted", 0)},
        "refused": dict(sorted(codes.items())),
        "datasets": count_values(manifest.dataset),
        "views": count_values(manifest["view"]),
        "sexes": count_values(manifest.sex.fillna("unknown")),
        "age_years": {
            name: float(np.quantile(age, share)) if len(age) else None
            for name, share in (("min", 0), ("median", 0.5), ("max", 1))
        },
        "spacing_kinds": count_values(manifest.spacing_kind),
        "polarity_inverted": int(manifest.polarity_inverted.sum()),
        "flags": dict(sorted(flags.items())),
        "labels": {name: count_label_values(manifest[name]) for name in select_label_columns(manifest.columns)},
        "masks": {name.removeprefix(MASK_PREFIX): int(manifest[name].notna().sum()) for name in masks},
    }


def count_values(column: pd.Series) -> dict[str, int]:
    """Number of occurrences of each value, sorted by value."""
    return {str(value): int(count) for value, count in sorted(Counter(column).items())}


def count_label_values(column: pd.Series) -> dict[str, int]:
    """Numbers of present, absent and unknown values of one label."""
    return {
        "present": int((column >= 0.5).sum()),
        "absent": int((column < 0.5).sum()),
        "unknown": int(column.isna().sum()),
    }


def format_cohort_counts(manifest: pd.DataFrame) -> list[str]:
    """The lines on a published cohort's splits, labels and masks; empty splits have no entry.

    Args:
        manifest: of the published cohort, with its splits.
    """
    splits = [
        f"{name} {len(part)} of {part.patient_id.nunique()} patient(s)"
        for name in SPLITS
        if len(part := manifest[manifest.split == name])
    ]
    labels = {name: count_label_values(manifest[name]) for name in select_label_columns(manifest.columns)}
    present = {
        name: f"{counts['present']} of {counts['present'] + counts['absent']}" for name, counts in labels.items()
    }
    masks = {
        name.removeprefix(MASK_PREFIX): f"{manifest[name].notna().sum()} image(s)"
        for name in manifest.columns
        if name.startswith(MASK_PREFIX)
    }
    return [
        f"splits: {', '.join(splits)}",
        f"labels, present of known: {list_counts(present)}" if present else "labels: none",
        f"masks: {list_counts(masks)}" if masks else "masks: none",
    ]


def list_counts(counts: Mapping[str, str]) -> str:
    """`name count` of the first `MAX_LISTED_NAMES` entries, and how many more there are."""
    entries = [f"{name} {count}" for name, count in counts.items()]
    left_out = len(entries) - MAX_LISTED_NAMES
    more = [f"and {left_out} more in summary.json"] if left_out > 0 else []
    return ", ".join(entries[:MAX_LISTED_NAMES] + more)


def format_next_command(cohort: Path, has_masks: bool) -> str:
    """The command that follows an ingest: annotate the most typical radiograph, by its masks or on a page."""
    options = "--image-id auto" if has_masks else "--page"
    return f"next: medprior annotate ANNOTATION --cohort {shlex.quote(str(cohort))} {options}"
