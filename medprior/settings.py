"""Frozen, typed settings that refuse unknown keys and report all faults together."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from medprior.errors import ConfigError, InputMissing

MAX_VALUES = 100_000  # of one file; an aliased value counts once per alias


class Settings(BaseModel):
    """Base class of all settings; subclasses add fields with defaults and documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def from_values(cls, values: dict[str, Any], where: str = "settings") -> Self:
        """Validate `values`; ConfigError names all unknown keys and wrong values."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = []
            for detail in error.errors(include_url=False):
                key = ".".join(str(step) for step in detail["loc"])
                if detail["type"] == "extra_forbidden":
                    faults.append(f"unknown key {key!r}")
                else:
                    faults.append(f"{key!r}: {detail['msg']} (found {reprlib.repr(detail['input'])})")
            known_keys = ", ".join(cls.model_fields)
            raise ConfigError("; ".join(faults), where=where, fix=f"known keys: {known_keys}") from None

    @classmethod
    def load(cls, path: Path | None, overrides: Iterable[str] = (), **defaults: Any) -> Self:
        """Settings from `defaults`, then a JSON or YAML file, then `key=value` overrides.

        Args:
            path: JSON or YAML file with a mapping, or None.
            overrides: strings `key=value` (`section.key=value` for nested settings); values are YAML.
            defaults: initial values of the stage or recipe.
        """
        values: dict[str, Any] = dict(defaults)
        where = str(path) if path else "--set"
        if path is not None:
            values = merge_mappings(values, read_mapping(path))
        for override in overrides:
            key, sign, text = override.partition("=")
            if not sign or not key:
                raise ConfigError("not an override", where="--set", expected="key=value", found=repr(override))
            branch: Any = yaml.safe_load(text)
            for step in reversed(key.split(".")):
                branch = {step: branch}
            values = merge_mappings(values, branch)
        return cls.from_values(values, where)


def merge_mappings(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """`lower` updated with `upper`, nested mappings recursively."""
    result = dict(lower)
    for key, value in upper.items():
        old = result.get(key)
        nested = isinstance(value, dict) and isinstance(old, dict)
        result[key] = merge_mappings(old, value) if nested else value  # type: ignore[arg-type]
    return result


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a JSON or YAML file that holds one mapping."""
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
    if not is_within_node_limit(values, MAX_VALUES):
        raise ConfigError(f"more than {MAX_VALUES} values", where=str(path), fix="no aliases of aliases")
    if not isinstance(values, dict):
        raise ConfigError(
            "not a mapping of keys to values", where=str(path), expected="key: value", found=type(values).__name__
        )
    return values


def is_within_node_limit(values: Any, limit: int) -> bool:
    """Whether there are at most `limit` nested values; YAML aliases can expand to billions."""
    pending, count = [values], 0
    while pending:
        value = pending.pop()
        count += 1
        if count + len(pending) > limit:
            return False
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return True
