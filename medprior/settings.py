"""Frozen, typed settings that refuse unknown keys, report all faults together and list themselves."""

from __future__ import annotations

import inspect
import json
import re
import reprlib
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_jsonable_python

from medprior.errors import ConfigError, InputMissing

MAX_VALUES = 100_000  # of one file; an aliased value counts once per alias
MAX_SUGGESTIONS = 3


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
                    faults.append(f"unknown key {key!r}{suggest_keys(key, cls)}")
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


class SettingEntry(NamedTuple):
    """One line of a list of settings.

    Attributes:
        key: as `--set` takes it, with its sections: `optimiser.lr`.
        default: as `--set` takes it: YAML.
        description: from the docstring of the settings class; empty where it has none.
    """

    key: str
    default: str
    description: str


def list_settings(settings: Settings, section: str = "") -> Iterator[SettingEntry]:
    """Every setting with its value in `settings`, those of nested sections in their place."""
    descriptions = read_field_descriptions(type(settings))
    for name in type(settings).model_fields:
        value, key = getattr(settings, name), section + name
        if isinstance(value, Settings):
            yield from list_settings(value, f"{key}.")
        else:
            is_plain = isinstance(value, str) and value
            text = value if is_plain else json.dumps(to_jsonable_python(value))
            yield SettingEntry(key, text, descriptions.get(name, ""))


def read_field_descriptions(settings: type[Settings]) -> dict[str, str]:
    """Field -> its text in the `Attributes:` or `Args:` of the class and its bases, nearest class first."""
    name_pattern = re.compile(rf"(?:^ *|(?<=\. ))({'|'.join(map(re.escape, settings.model_fields))}): ", re.MULTILINE)
    descriptions: dict[str, str] = {}
    for base in settings.__mro__:
        document = inspect.cleandoc(base.__doc__ or "") if issubclass(base, Settings) else ""
        section = re.split(r"^(?:Attributes|Args):$", document, maxsplit=1, flags=re.MULTILINE)[1:]
        _, *parts = name_pattern.split(section[0]) if section else [""]
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            descriptions.setdefault(name, " ".join(text.split()))
    return descriptions


def build_settings_schema(settings: type[Settings]) -> dict[str, Any]:
    """JSON schema of a settings class, with the description of every field."""
    schema = settings.model_json_schema()
    classes = {nested.__name__: nested for nested in find_nested_settings(settings)}
    for name, definition in [(settings.__name__, schema), *schema.get("$defs", {}).items()]:
        descriptions = read_field_descriptions(classes[name]) if name in classes else {}
        for field, text in descriptions.items():
            definition["properties"][field]["description"] = text
    return schema


def find_nested_settings(annotation: Any) -> Iterator[type[Settings]]:
    """The settings classes in a type: itself, and those of its fields and type arguments."""
    if inspect.isclass(annotation) and issubclass(annotation, Settings):
        yield annotation
        for field in annotation.model_fields.values():
            yield from find_nested_settings(field.annotation)
    for argument in get_args(annotation):
        yield from find_nested_settings(argument)


def list_keys(settings: type[Settings], section: str = "") -> list[str]:
    """Keys of all fields and sections, nested ones as `section.key`."""
    keys = []
    for name, field in settings.model_fields.items():
        keys.append(section + name)
        if inspect.isclass(field.annotation) and issubclass(field.annotation, Settings):
            keys += list_keys(field.annotation, f"{section}{name}.")
    return keys


def suggest_keys(key: str, settings: type[Settings]) -> str:
    """` (did you mean ...?)` with keys of the same last part, else the nearest one; empty where none is near."""
    keys = list_keys(settings)
    last = key.rpartition(".")[2]
    nearest = [known for known in keys if known.rpartition(".")[2] == last][:MAX_SUGGESTIONS]
    nearest = nearest or get_close_matches(key, keys, n=1)
    return f" (did you mean {' or '.join(map(repr, nearest))}?)" if nearest else ""


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
