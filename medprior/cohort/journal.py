"""An append-only file of JSON lines: after a crash it holds whole records only."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Journal:
    """Records appended one line each; a torn last line is dropped on opening.

    Args:
        path: the file, made if absent.
        mode: its permission bits when made.
        each: is called with every record there is and its line, and `records` stays empty: ten
            million of them are too many to hold twice.
    """

    def __init__(
        self,
        path: Path,
        mode: int = 0o644,
        each: Callable[[dict[str, Any], bytes], None] | None = None,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._keep = each is None
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, mode), "r+b")
        self._read(each or (lambda record, line: self.records.append(record)))

    def _read(self, each: Callable[[dict[str, Any], bytes], None]) -> None:
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
            except ValueError:
                break
            each(record, line)
            end += len(line)
        self._file.seek(end)
        self._file.truncate(end)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record and hand it to the operating system."""
        self.append_line(encode_json_line(record))
        if self._keep:
            self.records.append(dict(record))

    def append_line(self, line: bytes) -> None:
        """Add one record that `line_of` has made a line."""
        self._file.write(line)
        self._file.flush()

    def sync(self) -> None:
        """Force everything appended so far onto the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def encode_json_line(record: Mapping[str, Any]) -> bytes:
    """A record as a line of JSON, its keys in their order: labels keep theirs."""
    return json.dumps(dict(record), allow_nan=False).encode() + b"\n"
