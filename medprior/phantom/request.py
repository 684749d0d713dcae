"""What was asked of a folder: the same again is a no-op, something else is refused."""

from __future__ import annotations

import json
from pathlib import Path

from medprior.errors import ConfigError, InputMissing
from medprior.provenance import read_config, write_json

STARTED_FILE = "started.json"


def check_request_numbers(patients: int, seed: int, workers: int | None) -> None:
    """ConfigError where a number is too small."""
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


def is_already_generated(out: Path, request: dict[str, object], seed: int) -> bool:
    """Whether `out` holds exactly this cohort; marks it as begun if it is new or unfinished."""
    asked = {"seed": seed, **request}
    fix = "choose another folder, or remove this one"
    if (out / "config.json").is_file():
        record = read_config(out, "phantom")
        found = {"seed": record["seed"], **record["settings"]}
        if found == asked:
            return True
        different = ", ".join(list_setting_changes(found, asked))
        raise ConfigError("the folder holds another phantom cohort", where=out.name, found=different, fix=fix)
    begun = out / STARTED_FILE
    if begun.is_file():
        if json.loads(begun.read_text()) != asked:
            raise ConfigError("holds another, unfinished phantom cohort", where=out.name, fix=fix)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputMissing("not an empty folder", where=out.name, expected="a new or empty folder", fix=fix)
    try:
        write_json(begun, asked)
    except OSError as error:
        raise InputMissing(
            f"cannot be written ({error.strerror})", where=out.name, fix="choose another folder"
        ) from None
    return False


def list_setting_changes(found: dict[str, object], asked: dict[str, object]) -> list[str]:
    """`key old, not new` for every setting that differs, down to the leaves."""
    lines = []
    for key in sorted(found.keys() | asked.keys()):
        old, new = found.get(key), asked.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += [f"{key}.{line}" for line in list_setting_changes(old, new)]
        elif old != new:
            lines.append(f"{key} {old}, not {new}")
    return lines


def clear_started_mark(out: Path) -> None:
    """Take the mark of an unfinished cohort away; `config.json` now says what is there."""
    (out / STARTED_FILE).unlink()
