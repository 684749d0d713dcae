"""Counts accepted and rejected files, metadata, labels and masks for `summary.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from medprior.cohort.columns import MASK_PREFIX, select_label_columns


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
