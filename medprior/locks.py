"""Exclusive locks on files: one writer at a time for a cohort, prior, backbone, model or champion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.errors import MedpriorError

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_FILE = ".lock"
# Of folders that hold pictures or pseudonyms of patients.
PRIVATE_FOLDER_MODE = 0o700


def acquire_lock(path: Path, noun: str, *, wait_seconds: float | None = 0.0, mode: int = 0o644) -> BaseFileLock:
    """Take the lock; the caller calls `release`. The kernel frees it when the process dies.

    Args:
        path: the lock file, made with its folder (0700) if absent; it is never removed.
        noun: what the lock protects, as the message names it ("this cohort").
        wait_seconds: how long to wait for another holder; 0 refuses at once, None waits for ever.
        mode: permission bits of a new lock file; the umask applies.

    Raises:
        MedpriorError: another process or thread holds it, or the file system has no locks.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
    path.touch(mode)
    # A soft lock, filelock's fallback, would outlive a killed process.
    lock = FileLock(path, -1 if wait_seconds is None else wait_seconds, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        fix = "try again when it has ended"
        raise MedpriorError(f"another run is writing {noun}", where=path.parent.name, fix=fix) from None
    except OSError as error:
        raise MedpriorError(f"{noun} cannot be locked ({error.strerror})", where=path.parent.name) from None
    return lock


@contextmanager
def hold_lock(path: Path, noun: str, *, wait_seconds: float | None = 0.0, mode: int = 0o644) -> Iterator[None]:
    """Hold the lock of `acquire_lock` for the block."""
    lock = acquire_lock(path, noun, wait_seconds=wait_seconds, mode=mode)
    try:
        yield
    finally:
        lock.release()
