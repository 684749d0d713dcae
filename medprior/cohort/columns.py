"""Names and types of the manifest's columns: the public contract between rooms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from medprior.errors import ConfigError

TYPES: dict[str, str] = {
    "image_id": "str",
    "patient_id": "str",
    "study_id": "str",
    "dataset": "str",
    "view": "str",
    "sex": "str",
    "age": "float64",
    "rows": "int64",
    "cols": "int64",
    "spacing_mm": "float64",
    "spacing_kind": "str",
    "polarity_inverted": "bool",
    "flags": "str",
    "pixel_sha256": "str",
    "split": "str",
}
FACTS = tuple(TYPES)
MASK = "mask_"
PART = 2**14
VIEWS = ("PA", "AP", "LATERAL", "LL", "RL", "UNKNOWN")
SPLITS = ("train", "val", "test")


def label_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """The label columns among a manifest's `columns`, in their order."""
    return tuple(name for name in columns if name not in TYPES and not name.startswith(MASK))


def check_label_names(names: Iterable[str]) -> None:
    """ConfigError where a label would hide a fact or a mask column."""
    bad = sorted(name for name in names if name in TYPES or name.startswith(MASK))
    if bad:
        raise ConfigError(
            f"label names {bad} are taken", where="labels", fix="rename them in the descriptor"
        )


def manifest_frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The manifest of `records`, columns in the contract's order and types, `split` still empty.

    Made in parts, so that no more than one of them is held as Python objects.

    Args:
        records: one mapping per image with the facts, `labels` and `masks`.
    """
    parts: list[pd.DataFrame] = []
    rows: list[dict[str, Any]] = []
    for record in records:
        rows.append(manifest_row(record))
        if len(rows) == PART:
            parts.append(typed(rows))
            rows = []
    parts += [typed(rows)] if rows or not parts else []
    frame = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    labels = label_columns(frame.columns)
    masks = sorted(name for name in frame.columns if name.startswith(MASK))
    check_label_names(labels)
    frame = frame[[*FACTS, *labels, *masks]]
    return frame.astype(dict.fromkeys(labels, "float32") | dict.fromkeys(masks, "str"))


def manifest_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the manifest, `split` empty."""
    row = {name: record[name] for name in FACTS if name != "split"} | {"split": ""}
    check_label_names(record["labels"])
    masks = {MASK + name: path for name, path in record["masks"].items()}
    return row | dict(record["labels"]) | masks


def typed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a frame of the manifest's types, columns as they come."""
    names = dict.fromkeys(FACTS) | {name: None for row in rows for name in row}
    frame = pd.DataFrame(rows, columns=list(names))
    labels = dict.fromkeys(label_columns(names), "float32")
    masks = {name: "str" for name in names if name.startswith(MASK)}
    return frame.astype(TYPES | labels | masks)


def number(value: float | None) -> float | None:
    """A finite float, or None: JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
