"""Defines names and types of the manifest's columns, a public contract between packages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from medprior.errors import ConfigError

COLUMN_TYPES: dict[str, str] = {
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
METADATA_COLUMNS = tuple(COLUMN_TYPES)
MASK_PREFIX = "mask_"
CHUNK_ROWS = 2**14
SPLITS = ("train", "val", "test")


def select_label_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """The label columns among a manifest's `columns`, in their order."""
    return tuple(name for name in columns if name not in COLUMN_TYPES and not name.startswith(MASK_PREFIX))


def check_label_names(names: Iterable[str]) -> None:
    """Raise ConfigError where a label has the name of a metadata or mask column."""
    reserved = sorted(name for name in names if name in COLUMN_TYPES or name.startswith(MASK_PREFIX))
    if reserved:
        raise ConfigError(f"label names {reserved} are reserved", where="labels", fix="rename them in the descriptor")


def build_manifest(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The manifest of `records`, columns in the contract's order and types, `split` still empty.

    Rows are converted in chunks, so that only one chunk exists as Python objects.

    Args:
        records: one mapping per image with the metadata, `labels` and `masks`.
    """
    frames: list[pd.DataFrame] = []
    rows: list[dict[str, Any]] = []
    for record in records:
        rows.append(build_manifest_row(record))
        if len(rows) == CHUNK_ROWS:
            frames.append(convert_to_typed_frame(rows))
            rows = []
    frames += [convert_to_typed_frame(rows)] if rows or not frames else []
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    labels = select_label_columns(frame.columns)
    masks = sorted(name for name in frame.columns if name.startswith(MASK_PREFIX))
    check_label_names(labels)
    frame = frame[[*METADATA_COLUMNS, *labels, *masks]]
    return frame.astype(dict.fromkeys(labels, "float32") | dict.fromkeys(masks, "str"))


def build_manifest_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the manifest, `split` empty."""
    row = {name: record[name] for name in METADATA_COLUMNS if name != "split"} | {"split": ""}
    check_label_names(record["labels"])
    masks = {MASK_PREFIX + name: path for name, path in record["masks"].items()}
    return row | dict(record["labels"]) | masks


def convert_to_typed_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a frame of the manifest's types, columns in order of appearance."""
    names = dict.fromkeys(METADATA_COLUMNS) | {name: None for row in rows for name in row}
    frame = pd.DataFrame(rows, columns=list(names))
    labels = dict.fromkeys(select_label_columns(names), "float32")
    masks = {name: "str" for name in names if name.startswith(MASK_PREFIX)}
    return frame.astype(COLUMN_TYPES | labels | masks)


def finite_or_none(value: float | None) -> float | None:
    """A finite float, or None: JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
