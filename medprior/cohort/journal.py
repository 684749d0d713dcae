"""An append-only file of JSON lines: after a crash it holds whole records only."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medprior.errors import MedpriorError


class Journal:
    """Records appended one line each; a torn last line is dropped on opening.

    Args:
        path: the file, made if absent.
        mode: its permission bits when made.
    """

    def __init__(self, path: Path, mode: int = 0o644) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, mode), "r+b")
        self.records = self._whole_records()

    def _whole_records(self) -> list[dict[str, Any]]:
        records, end = [], 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            try:
                records.append(json.loads(line))
            except ValueError:
                break
            end += len(line)
        self._file.seek(end)
        self._file.truncate(end)
        return records

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record and hand it to the operating system."""
        # Not sorted: the order of labels is that of the manifest's columns, whoever reads it back.
        line = json.dumps(dict(record), allow_nan=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        self.records.append(dict(record))

    def sync(self) -> None:
        """Force everything appended so far onto the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FolderLock:
    """One writer for a folder; the kernel frees it when the writer dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise MedpriorError(
                "another run is writing this cohort",
                where=folder.name,
                fix="wait for it to end, or choose another folder",
            ) from None

    def release(self) -> None:
        """Let the next writer in."""
        os.close(self._file)
