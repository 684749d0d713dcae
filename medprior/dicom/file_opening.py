"""Opens regular files safely and detects file types by content."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from medprior.dicom.policy import Policy
from medprior.errors import Rejected

PREAMBLE_BYTES = 128
MAGIC_NUMBERS = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"\x00\x05\x16\x07", "appledouble"),
)


def detect_file_type(head: bytes) -> str:
    """Detect a file's type by its first 136 bytes: `dicom`, `bare_dicom`, `png`, ... or `unknown`.

    `bare_dicom` has neither preamble nor file meta: its first element is in group 0008.
    """
    if head[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM":
        return "dicom"
    for magic, name in MAGIC_NUMBERS:
        if head.startswith(magic):
            return name
    if len(head) >= 8 and head[:2] == b"\x08\x00" and head[3] == 0:
        return "bare_dicom"
    return "unknown"


@contextmanager
def open_regular_file(source: Path | str | BinaryIO, policy: Policy) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file for reading; yield the stream and its size in bytes.

    Links, pipes, sockets, devices and folders are refused without being opened.

    Raises:
        Rejected: `not_a_file`, `unreadable`, `empty` or `too_large`.
    """
    if not isinstance(source, (str, os.PathLike)):
        size = source.seek(0, io.SEEK_END)
        source.seek(0)
        check_file_size(size, policy)
        yield source, size
        return
    path = Path(source)
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise Rejected("not_a_file", "not a regular file", fix="give a file, not a link")
        check_file_size(status.st_size, policy)
        # The file may change after the checks above: these flags make opening itself safe.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        raise Rejected("unreadable", "the file cannot be opened") from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Rejected("not_a_file", "not a regular file")
        check_file_size(status.st_size, policy)
        yield file, status.st_size


def check_file_size(size: int, policy: Policy) -> None:
    """Refuse a file that is empty (`empty`) or above the policy's limit (`too_large`)."""
    if size == 0:
        raise Rejected("empty", "the file is empty")
    if size > policy.max_bytes:
        raise Rejected("too_large", f"the file is larger than {policy.max_bytes} bytes")
