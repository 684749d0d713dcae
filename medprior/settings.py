"""Frozen, typed settings: unknown keys refused, every fault reported at once."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from medprior.errors import ConfigError, InputMissing

MAX_VALUES = 100_000  # values of one file, every alias counted where it stands


class Settings(BaseModel):
    """Base of every stage's settings; subclasses add fields with defaults and docs."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def checked(cls, values: dict[str, Any], where: str = "settings") -> Self:
        """Validate `values`; ConfigError names every unknown key and wrong value at once."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = []
            for fault in error.errors(include_url=False):
                key = ".".join(str(part) for part in fault["loc"])
                if fault["type"] == "extra_forbidden":
                    faults.append(f"unknown key {key!r}")
                else:
                    faults.append(f"{key!r}: {fault['msg']} (found {reprlib.repr(fault['input'])})")
            known = ", ".join(cls.model_fields)
            raise ConfigError("; ".join(faults), where=where, fix=f"known keys: {known}") from None

    @classmethod
    def load(cls, path: Path | None, overrides: Iterable[str] = (), **defaults: Any) -> Self:
        """Settings from `defaults`, then a JSON or YAML file, then `key=value` overrides.

        Args:
            path: JSON or YAML file with a mapping, or None.
            overrides: strings `key=value` (`section.key=value` reaches inside); values are YAML.
            defaults: what the stage or recipe starts from.
        """
        values: dict[str, Any] = dict(defaults)
        where = str(path) if path else "--set"
        if path is not None:
            values = merge_mappings(values, read_mapping(path))
        for item in overrides:
            key, sign, text = item.partition("=")
            if not sign or not key:
                raise ConfigError("not an override", where="--set", expected="key=value", found=repr(item))
            branch: Any = yaml.safe_load(text)
            for part in reversed(key.split(".")):
                branch = {part: branch}
            values = merge_mappings(values, branch)
        return cls.checked(values, where)


def merge_mappings(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """`low` overlaid with `high`, mapping by mapping."""
    result = dict(low)
    for key, value in high.items():
        old = result.get(key)
        both = isinstance(value, dict) and isinstance(old, dict)
        result[key] = merge_mappings(old, value) if both else value  # type: ignore[arg-type]
    return result


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON or YAML file that holds one mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputMissing(
            f"cannot be read ({getattr(error, 'strerror', None) or 'no UTF-8 text'})",
            where=str(path),
            fix="check the path",
        ) from None
    try:
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())[:300]
        raise ConfigError(f"not valid JSON or YAML ({text})", where=str(path)) from None
    if not has_at_most(values, MAX_VALUES):
        raise ConfigError(f"more than {MAX_VALUES} values", where=str(path), fix="no aliases of aliases")
    if not isinstance(values, dict):
        raise ConfigError("not a mapping", where=str(path), expected="key: value", found=type(values).__name__)
    return values


def has_at_most(values: Any, most: int) -> bool:
    """Whether nested values are at most so many; YAML's aliases can stand for billions."""
    waiting, seen = [values], 0
    while waiting:
        item = waiting.pop()
        seen += 1
        if seen + len(waiting) > most:
            return False
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return True
