"""The node's queue on disk: radiographs that wait, objects that wait for the archive, and what failed.

A radiograph is acknowledged to its sender only when its file is on disk. A step is one rename, so that a
process that is killed at any point leaves each radiograph in exactly one place, and goes on from there:

```
incoming/NAME.0.dcm    received; the number counts the times that its reading was begun
outgoing/NAME/KIND     objects to send; a file goes when the archive has it
failed/                of both, what cannot go on by itself; it is tried again at the next start
```

Names are times and random digits; they hold nothing of the patient. Folders are 0700, files 0600.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from medprior.dicom.derived.derived_object import write_owner_only_file
from medprior.provenance import fsync_path

FOLDERS = ("incoming", "outgoing", "failed")
MEBIBYTE = 2**20
BUILD_PREFIX = "."  # of what is being written


@dataclass(frozen=True)
class QueuedRadiograph:
    """One radiograph that waits: its name in the queue and its file."""

    name: str
    path: Path

    @property
    def attempts(self) -> int:
        """How often its reading was begun."""
        return int(self.path.name.split(".")[1])

    @property
    def arrival_seconds(self) -> float:
        """When it arrived, in seconds since 1970."""
        return int(self.name.split("-")[0]) / 1e9


class WorkQueue:
    """The queue in one folder; safe to share between threads, for one process at a time.

    Args:
        folder: made if absent; what a killed process left in it is taken up.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.incoming, self.outgoing, self.failed = (folder / name for name in FOLDERS)
        for path in (self.incoming, self.outgoing, self.failed):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._recover()

    def _recover(self) -> None:
        """Remove half-written files, finish half-done steps, and give what failed another chance."""
        for path in (*self.incoming.iterdir(), *self.outgoing.iterdir()):
            if path.name.startswith(BUILD_PREFIX):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in sorted(self.failed.iterdir()):
            if path.is_file():
                path.replace(self.incoming / f"{path.name.split('.')[0]}.0.dcm")
                continue
            waiting = self.outgoing / path.name
            waiting.mkdir(mode=0o700, exist_ok=True)
            for file in path.iterdir():
                file.replace(waiting / file.name)
            path.rmdir()
        for item in self.list_incoming():
            if (self.outgoing / item.name).exists():  # killed between its last two steps
                item.path.unlink()

    def add(self, content: bytes) -> str:
        """Put a received file on disk; returns its name.

        Raises:
            OSError: it cannot be written.
        """
        name = build_name()
        write_owner_only_file(self.incoming / f"{name}.0.dcm", content)
        fsync_path(self.incoming)
        return name

    def list_incoming(self) -> list[QueuedRadiograph]:
        """The radiographs that wait or are being read, in order of arrival."""
        paths = sorted(path for path in self.incoming.iterdir() if not path.name.startswith(BUILD_PREFIX))
        return [QueuedRadiograph(path.name.split(".")[0], path) for path in paths]

    def take(self) -> QueuedRadiograph | None:
        """Take the first radiograph that nobody reads, with its attempt counted; None where there is none."""
        with self._lock:
            for item in self.list_incoming():
                if item.name not in self._taken:
                    path = item.path.with_name(f"{item.name}.{item.attempts + 1}.dcm")
                    item.path.replace(path)
                    self._taken.add(item.name)
                    return QueuedRadiograph(item.name, path)
        return None

    def has_free_space(self, min_free_mb: int) -> bool:
        """Whether its disk has at least so many MiB free."""
        return shutil.disk_usage(self.folder).free >= min_free_mb * MEBIBYTE

    def add_objects(self, objects: dict[str, bytes]) -> str:
        """Put objects on disk for sending, whose radiograph somebody else keeps; returns their name.

        Raises:
            OSError: they cannot be written.
        """
        name = build_name()
        self._write_objects(name, objects)
        return name

    def _write_objects(self, name: str, objects: dict[str, bytes]) -> None:
        build = self.outgoing / f"{BUILD_PREFIX}{name}"
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir(mode=0o700)
        for index, (kind, content) in enumerate(objects.items()):
            write_owner_only_file(build / f"{index}.{kind}.dcm", content)
        fsync_path(build)
        build.replace(self.outgoing / name)
        fsync_path(self.outgoing)

    def finish(self, item: QueuedRadiograph, objects: dict[str, bytes]) -> None:
        """Put the objects of a radiograph on disk for sending, in their order, then remove its file."""
        if objects and not (self.outgoing / item.name).exists():
            self._write_objects(item.name, objects)
        item.path.unlink()
        self.release(item)

    def release(self, item: QueuedRadiograph) -> None:
        """Let a radiograph be taken again."""
        with self._lock:
            self._taken.discard(item.name)

    def fail(self, item: QueuedRadiograph) -> None:
        """Put a radiograph aside until the next start."""
        item.path.replace(self.failed / item.path.name)
        self.release(item)

    def list_outgoing(self) -> list[Path]:
        """Files of objects to send: those of the first radiograph first, each in the order they were built."""
        folders = sorted(path for path in self.outgoing.iterdir() if not path.name.startswith(BUILD_PREFIX))
        return [path for folder in folders for path in sorted(folder.iterdir())]

    def remove_sent(self, path: Path) -> None:
        """Remove an object that the archive has, and its folder with the last one."""
        path.unlink()
        remove_if_empty(path.parent)

    def fail_object(self, path: Path) -> None:
        """Put an object that the archive refuses aside until the next start."""
        folder = self.failed / path.parent.name
        folder.mkdir(mode=0o700, exist_ok=True)
        path.replace(folder / path.name)
        remove_if_empty(path.parent)

    def count_incoming(self) -> int:
        """How many radiographs wait or are being read."""
        return sum(1 for _ in self.incoming.iterdir())

    def count_files(self) -> dict[str, int]:
        """How many radiographs wait, how many objects wait, and how many of both failed."""
        failed = [path for path in self.failed.rglob("*") if path.is_file()]
        return {"incoming": len(self.list_incoming()), "outgoing": len(self.list_outgoing()), "failed": len(failed)}


def build_name() -> str:
    """A name that is new and sorts by time."""
    return f"{time.time_ns():020d}-{secrets.token_hex(4)}"


def remove_if_empty(folder: Path) -> None:
    """Remove a folder without files."""
    if not any(folder.iterdir()):
        folder.rmdir()
