"""Records the outcome of every source in the cohort's private folder (mode 0700)."""

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
    """Outcomes of all sources so far, appended one by one; a kill loses none.

    Args:
        cohort: the cohort folder; the private folder is `<cohort>.private`.
    """

    def __init__(self, cohort: Path) -> None:
        self.folder = private_folder(cohort)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            self._lines: dict[str, bytes] = {}
            self._journal = Journal(self.folder / "journal.jsonl", 0o600, self._remember)
        except OSError as error:
            raise InputMissing(f"cannot be written ({error.strerror})", where=self.folder.name) from None
        for draft in self.folder.glob(".*"):
            draft.unlink()

    def _remember(self, record: dict[str, Any], line: bytes) -> None:
        self._lines[record["source"]] = line

    def __len__(self) -> int:
        return len(self._lines)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def is_done(self, path: str, stamp: FileStamp, dataset: str, image_ids: Container[object]) -> bool:
        """Whether this unchanged file has an outcome in this data set.

        Args:
            path: the file, or its URL.
            stamp: changes with the file.
            dataset: the data set's name.
            image_ids: images of the cohort; images lost in a power cut are missing there.
        """
        line = self._lines.get(path)
        if line is None:
            return False
        record = json.loads(line)
        if record["dataset"] != dataset:
            return False
        is_kept = not record["image_id"] or record["image_id"] in image_ids
        return is_kept and bool(record["stamp"] == stamp)

    def record_outcome(
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
        """Record one outcome: an image id, or a reject code with its message."""
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
        self._lines[path] = line

    def records(self) -> Iterator[dict[str, Any]]:
        """The last outcome of every source, sorted by source."""
        return (json.loads(self._lines[path]) for path in sorted(self._lines))

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
    """The private folder beside a cohort."""
    cohort = cohort.absolute()
    return cohort.with_name(cohort.name + ".private")


def get_size_and_mtime(path: str) -> FileStamp:
    """Size in bytes and modification time in ns of a file; [-1, -1] where it is missing."""
    try:
        status = os.lstat(path)
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]
