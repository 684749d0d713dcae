"""Implements an append-only file of JSON lines that holds whole records only after a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medprior.locks import PRIVATE_FOLDER_MODE


class Journal:
    """Records, one per line; an incomplete last line is removed on opening.

    Args:
        path: the file, created if absent.
        mode: permission bits of a new file.
        on_record: called with every existing record and its line; `records` then stays empty, since
            ten million records are too many to hold twice.
    """

    def __init__(
        self,
        path: Path,
        mode: int = 0o644,
        on_record: Callable[[dict[str, Any], bytes], None] | None = None,
    ) -> None:
        path.parent.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._keeps_records = on_record is None
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, mode), "r+b")
        self._read(on_record or (lambda record, line: self.records.append(record)))

    def _read(self, on_record: Callable[[dict[str, Any], bytes], None]) -> None:
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
            except ValueError:
                break
            on_record(record, line)
            end += len(line)
        self._file.seek(end)
        self._file.truncate(end)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record and flush it to the operating system."""
        self.append_line(encode_json_line(record))
        if self._keeps_records:
            self.records.append(dict(record))

    def append_line(self, line: bytes) -> None:
        """Add one record that `encode_json_line` encoded."""
        self.append_lines([line])

    def append_lines(self, lines: Sequence[bytes]) -> None:
        """Add records that `encode_json_line` encoded, in one write to the operating system."""
        self._file.write(b"".join(lines))
        self._file.flush()

    def sync(self) -> None:
        """Force everything appended so far onto the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def encode_json_line(record: Mapping[str, Any]) -> bytes:
    """A record as a line of JSON; keys keep their order."""
    return json.dumps(dict(record), allow_nan=False).encode() + b"\n"
