"""Structure names: as other tools write them, and as a user renames them."""

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
    """A name in lower-case letters, digits and _: `Left Lung`, `lung_left` and `Lung, L` are one.

    The side comes first for organs that come in pairs (our choice, after the cohort's own names).
    """
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = [word for word in re.split(r"[^a-z0-9]+", ascii_only.lower()) if word]
    if len(words) == 2 and set(words) & set(PAIRED_ORGANS):
        words = [SIDE_LETTERS.get(word, word) for word in words]
        words.sort(key=lambda word: word not in SIDES)
    return "_".join(words)


def parse_renames(items: Iterable[str]) -> dict[str, str]:
    """What a file calls a structure -> what we call it, from `1=left_lung,2=heart` arguments.

    Raises:
        MedpriorError: a part has no `=`, or a name comes twice.
    """
    found: dict[str, str] = {}
    for part in (part for item in items for part in item.split(",")):
        key, sign, name = (piece.strip() for piece in part.partition("="))
        if not sign or not key or not name or key in found:
            raise MedpriorError(
                "given twice" if key in found else "not LABEL=NAME",
                where="--names",
                expected="--names 1=left_lung,2=right_lung,3=heart",
                found=repr(part),
            )
        found[key] = name
    return found


def rename_structures(
    parts: Mapping[str, Value], names: Mapping[str, str]
) -> tuple[dict[str, list[Value]], tuple[str, ...]]:
    """Structure -> what a file holds of it, after renaming; and warnings.

    Args:
        parts: by label number, or by the name in the file.
        names: see `renaming`; a label number without a name there is left out with a warning.

    Raises:
        MedpriorError: a key of `names` is not in the file, or the file only has numbers.
    """
    numbers = [label for label in parts if label.isdigit()]
    keys = {label: next((k for k in names if is_same_structure(k, label)), None) for label in parts}
    missing = [key for key in names if key not in keys.values()]
    if missing or (numbers and not names):
        raise MedpriorError(
            f"no {', '.join(missing)} in the file" if missing else "the labels have no names",
            where="--names",
            expected="--names " + ",".join(f"{label}=NAME" for label in list(parts)[:8]),
            fix="name each label, for example 1=left_lung,2=right_lung,3=heart",
        )
    found: dict[str, list[Value]] = {}
    warnings = []
    for label, value in parts.items():
        key = keys[label]
        if key is None and label in numbers:
            warnings.append(f"label {label} of the file has no name and was left out")
            continue
        name = names[key] if key is not None else normalise_name(label) or label
        found.setdefault(name, []).append(value)
    return found, tuple(warnings)


def is_same_structure(key: str, label: str) -> bool:
    """Whether a user's key means the label."""
    return key == label or (bool(normalise_name(key)) and normalise_name(key) == normalise_name(label))
