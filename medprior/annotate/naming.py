"""Normalise structure names of other tools, and rename structures."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TypeVar

from medprior.errors import MedpriorError

SIDES = ("left", "right")
SIDE_LETTERS = {"l": "left", "r": "right"}
PAIRED_ORGANS = ("lung", "clavicle", "diaphragm", "hilum", "breast", "ventricle", "atrium", "scapula")
Value = TypeVar("Value")


def normalise_name(name: str) -> str:
    """A name in lower-case letters, digits and _: `Left Lung`, `lung_left` and `Lung, L` give
    the same name.

    The side precedes paired organs (our choice, as in the column names of cohorts).
    """
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    tokens = [token for token in re.split(r"[^a-z0-9]+", ascii_only.lower()) if token]
    if len(tokens) == 2 and set(tokens) & set(PAIRED_ORGANS):
        tokens = [SIDE_LETTERS.get(token, token) for token in tokens]
        tokens.sort(key=lambda token: token not in SIDES)
    return "_".join(tokens)


def parse_renames(items: Iterable[str]) -> dict[str, str]:
    """Label in a file -> structure, from `1=left_lung,2=heart` arguments.

    Raises:
        MedpriorError: a pair has no `=`, or a label occurs twice.
    """
    renames: dict[str, str] = {}
    for pair in (pair for item in items for pair in item.split(",")):
        key, sign, name = (text.strip() for text in pair.partition("="))
        if not sign or not key or not name or key in renames:
            raise MedpriorError(
                "given twice" if key in renames else "not LABEL=NAME",
                where="--names",
                expected="--names 1=left_lung,2=right_lung,3=heart",
                found=repr(pair),
            )
        renames[key] = name
    return renames


def rename_structures(
    values: Mapping[str, Value], renames: Mapping[str, str]
) -> tuple[dict[str, list[Value]], tuple[str, ...]]:
    """Structure -> its values in a file after renaming; and warnings.

    Args:
        values: by label number, or by name in the file.
        renames: from `parse_renames`; a label number without a name is left out with a warning.

    Raises:
        MedpriorError: a key of `renames` is not in the file, or labels that are numbers have no names.
    """
    numbers = [label for label in values if label.isdigit()]
    keys = {label: next((k for k in renames if is_same_structure(k, label)), None) for label in values}
    missing = [key for key in renames if key not in keys.values()]
    if missing or (numbers and not renames):
        raise MedpriorError(
            f"no {', '.join(missing)} in the file" if missing else "labels that are numbers need names",
            where="--names",
            expected="--names " + ",".join(f"{label}=NAME" for label in list(values)[:8]),
            fix="name each label, for example 1=left_lung,2=right_lung,3=heart",
        )
    structures: dict[str, list[Value]] = {}
    warnings = []
    for label, value in values.items():
        key = keys[label]
        if key is None and label in numbers:
            warnings.append(f"label {label} of the file has no name and was left out")
            continue
        name = renames[key] if key is not None else normalise_name(label) or label
        structures.setdefault(name, []).append(value)
    return structures, tuple(warnings)


def is_same_structure(key: str, label: str) -> bool:
    """Whether the key of a rename matches a label."""
    return key == label or (bool(normalise_name(key)) and normalise_name(key) == normalise_name(label))
