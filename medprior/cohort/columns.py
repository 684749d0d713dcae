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


def manifest_frame(records: Iterable[Mapping[str, Any]], split: Mapping[str, str]) -> pd.DataFrame:
    """The manifest of `records`, columns in the contract's order and types.

    Args:
        records: one mapping per image with the facts, `labels` and `masks`.
        split: image_id -> split.
    """
    rows, labels, structures = [], {}, {}
    for record in records:
        row = {name: record[name] for name in FACTS if name != "split"}
        row["split"] = split[record["image_id"]]
        labels.update(dict.fromkeys(record["labels"]))
        structures.update(dict.fromkeys(record["masks"]))
        row |= record["labels"] | {MASK + name: path for name, path in record["masks"].items()}
        rows.append(row)
    check_label_names(labels)
    masks = [MASK + name for name in sorted(structures)]
    frame = pd.DataFrame(rows, columns=[*FACTS, *labels, *masks])
    types = TYPES | dict.fromkeys(labels, "float32") | dict.fromkeys(masks, "str")
    return frame.astype(types)


def number(value: float | None) -> float | None:
    """A finite float, or None: JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
