"""The private side of a cohort: which source became which image; readable by its owner only."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from medprior.cohort.journal import Journal, encode_json_line
from medprior.errors import InputMissing
from medprior.provenance import atomic_write

SOURCE_COLUMNS = ("source", "image_id", "code")
FileStamp = list[int | str]


class SourceJournal:
    """What became of every source so far; appended one by one, survives any kill.

    Args:
        cohort: the cohort folder; the private folder lies beside it.
    """

    def __init__(self, cohort: Path) -> None:
        self.folder = private_folder(cohort)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            self._done: dict[str, bytes] = {}
            self._journal = Journal(self.folder / "journal.jsonl", 0o600, self._remember)
        except OSError as error:
            raise InputMissing(f"cannot be written ({error.strerror})", where=self.folder.name) from None
        for draft in self.folder.glob(".*"):
            draft.unlink()

    def _remember(self, record: dict[str, Any], line: bytes) -> None:
        self._done[record["source"]] = line

    def __len__(self) -> int:
        return len(self._done)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def is_done(self, path: str, stamp: FileStamp, dataset: str, images: Container[object]) -> bool:
        """Whether this very file was dealt with before, as part of this data set.

        Args:
            path: the file, or its URL.
            stamp: what changes when it does.
            dataset: the data set's name.
            images: what the cohort holds; an image that was cut off with the power is missing.
        """
        line = self._done.get(path)
        if line is None:
            return False
        record = json.loads(line)
        if record["dataset"] != dataset:
            return False
        kept = not record["image_id"] or record["image_id"] in images
        return kept and bool(record["stamp"] == stamp)

    def keep(
        self,
        path: str,
        stamp: FileStamp,
        dataset: str,
        *,
        item: str,
        image_id: str,
        code: str,
        message: str,
    ) -> None:
        """Record one outcome: an image id, or a code with its message."""
        record = {
            "source": path,
            "dataset": dataset,
            "stamp": stamp,
            "item": item,
            "image_id": image_id,
            "code": code,
            "message": message,
        }
        line = encode_json_line(record)
        self._journal.append_line(line)
        self._done[path] = line

    def records(self) -> Iterator[dict[str, Any]]:
        """The last outcome of every source, by source."""
        return (json.loads(self._done[path]) for path in sorted(self._done))

    def write_sources(self) -> None:
        """Write `sources.csv` (source, image_id, code), mode 0600."""
        path = self.folder / "sources.csv"
        with atomic_write(path) as temporary:
            temporary.chmod(0o600)
            with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                writer = csv.writer(file)
                writer.writerow(SOURCE_COLUMNS)
                writer.writerows([record[name] for name in SOURCE_COLUMNS] for record in self.records())
        path.chmod(0o600)


def private_folder(cohort: Path) -> Path:
    """Where a cohort's private folder lies."""
    cohort = cohort.absolute()
    return cohort.with_name(cohort.name + ".private")


def file_stamp(path: str) -> FileStamp:
    """Size and time of a file, which change with its content."""
    try:
        status = os.lstat(path)
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]
