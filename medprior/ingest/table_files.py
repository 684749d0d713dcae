"""Opens tables and lists as spreadsheets write them: encodings, separators and spellings of headers."""

from __future__ import annotations

import csv
import difflib
import gzip
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO

from medprior.errors import InputMissing

SEPARATORS = (",", ";", "\t")
GZIP_START = b"\x1f\x8b"


def open_text(path: Path) -> IO[str]:
    """Open a UTF-8 or UTF-16 text, gzip-compressed or not whatever its name, with or without a byte order mark."""
    with open(path, "rb") as file:
        opener = gzip.open if file.read(2) == GZIP_START else open
    with opener(path, "rb") as file:
        start = file.read(2)
    encoding = "utf-16" if start in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    if 0 in start:
        encoding = "utf-16-le" if start[0] else "utf-16-be"
    return opener(path, "rt", newline="", encoding=encoding, errors="replace")


@contextmanager
def open_table(path: Path, key: tuple[str, ...]) -> Iterator[csv.DictReader[str]]:
    """Rows separated by the comma, semicolon or tab that shows the column `key`; a first line `sep=;` is obeyed."""
    with open_text(path) as file:
        header = next((line for line in file if line.strip()), "")
        stated = header[4:5] if header.lower().startswith("sep=") else ""
        header = next(file, "") if stated else header
        names = {separator: next(csv.reader([header], delimiter=separator), []) for separator in SEPARATORS}
        best = max(SEPARATORS, key=lambda separator: (bool(find_column(key, names[separator])), len(names[separator])))
        yield csv.DictReader(chain([header], file), delimiter=stated or best)


def find_column(names: tuple[str, ...], columns: Collection[str]) -> str | None:
    """The first of `names` among `columns`, else one that differs in case or outer blanks alone, or None."""
    plain = {column.strip().casefold(): column for column in columns}
    exact = next((name for name in names if name in columns), None)
    return exact or next((plain[name.strip().casefold()] for name in names if name.strip().casefold() in plain), None)


def find_named_columns(aliases: Mapping[str, tuple[str, ...]], columns: Collection[str]) -> dict[str, str]:
    """Name -> the column that is there under one of its possible names; names without column are left out."""
    matches = {name: find_column(names, columns) for name, names in aliases.items()}
    return {name: column for name, column in matches.items() if column is not None}


def require_columns(file_name: str, wanted: Collection[tuple[str, ...]], columns: Collection[str]) -> None:
    """Raise InputMissing with the nearest columns where a wanted column, given by possible names, is absent."""
    missing = [names for names in wanted if find_column(names, columns) is None]
    if missing:
        nearest = dict.fromkeys(column for names in missing for column in find_nearest_names(names[0], columns))
        raise InputMissing(
            "a column is missing" if len(missing) == 1 else f"{len(missing)} columns are missing",
            where=file_name,
            expected=", ".join(" or ".join(names) for names in missing),
            found=f"as nearest {', '.join(nearest) or 'nothing'}",
            fix="correct the names in the descriptor, or remove there what the table lacks",
        )


def find_nearest_names(name: str, names: Collection[str]) -> list[str]:
    """The three of the first 5000 `names` most like `name`, best first."""
    plain = {other.strip().casefold(): other for other in islice(names, 5000)}
    return [plain[other] for other in difflib.get_close_matches(name.strip().casefold(), plain, 3, 0.0)]
