"""Checks a request against its folder: a repeated request is a no-op, another is refused."""

from __future__ import annotations

import json
from pathlib import Path

from medprior.errors import ConfigError, InputMissing
from medprior.provenance import read_config, write_json

STARTED_FILE = "started.json"


def check_generation_arguments(patients: int, seed: int, workers: int | None) -> None:
    """Raise ConfigError if a number is too small."""
    for name, value, least in (
        ("patients", patients, 1),
        ("seed", seed, 0),
        ("workers", workers, 1),
    ):
        if value is not None and value < least:
            raise ConfigError(
                f"no usable number of {name}" if name != "seed" else "no usable seed",
                where=f"--{name}",
                expected=f"{least} or more",
                found=str(value),
            )


def check_finished_or_mark_started(out: Path, request: dict[str, object], seed: int) -> bool:
    """Whether `out` holds exactly this cohort; marks it as started if it is new or unfinished."""
    requested = {"seed": seed, **request}
    fix = "choose another folder, or remove this one"
    if (out / "config.json").is_file():
        record = read_config(out, "phantom")
        existing = {"seed": record["seed"], **record["settings"]}
        if existing == requested:
            return True
        different = ", ".join(list_setting_changes(existing, requested))
        raise ConfigError("the folder holds another phantom cohort", where=out.name, found=different, fix=fix)
    started = out / STARTED_FILE
    if started.is_file():
        if json.loads(started.read_text()) != requested:
            raise ConfigError("holds another, unfinished phantom cohort", where=out.name, fix=fix)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputMissing("not an empty folder", where=out.name, expected="a new or empty folder", fix=fix)
    try:
        write_json(started, requested)
    except OSError as error:
        raise InputMissing(
            f"cannot be written ({error.strerror})", where=out.name, fix="choose another folder"
        ) from None
    return False


def list_setting_changes(existing: dict[str, object], requested: dict[str, object]) -> list[str]:
    """`key old, not new` for every setting that differs, down to the leaves."""
    lines = []
    for key in sorted(existing.keys() | requested.keys()):
        old, new = existing.get(key), requested.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += [f"{key}.{line}" for line in list_setting_changes(old, new)]
        elif old != new:
            lines.append(f"{key} {old}, not {new}")
    return lines


def clear_started_mark(out: Path) -> None:
    """Remove the mark of an unfinished cohort, once `config.json` is written."""
    (out / STARTED_FILE).unlink()
