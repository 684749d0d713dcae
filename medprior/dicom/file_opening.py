"""Opens regular files safely and detects file types by content."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from medprior.dicom.policy import Policy
from medprior.errors import Rejected

PREAMBLE_BYTES = 128
MAX_GIVEN_FILES = 100
MAGIC_NUMBERS = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"\x00\x05\x16\x07", "appledouble"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
)
# Sizes in bytes of the second header of a BMP file, which is at byte 14.
BMP_HEADER_BYTES = {12, 40, 52, 56, 64, 108, 124}


def detect_file_type(head: bytes) -> str:
    """Detect a file's type by its first 136 bytes: `dicom`, `bare_dicom`, `png`, ... or `unknown`.

    `bare_dicom` has neither preamble nor file meta: its first element is in group 0008.
    """
    if head[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM":
        return "dicom"
    for magic, name in MAGIC_NUMBERS:
        if head.startswith(magic):
            return name
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADER_BYTES:
        return "bmp"
    if len(head) >= 8 and head[:2] == b"\x08\x00" and head[3] == 0:
        return "bare_dicom"
    return "unknown"


class GivenFiles:
    """Files that this process reads from open descriptors, since it may open none by its path.

    Attributes:
        descriptors: path -> open descriptor.
        refusals: path -> why the owner of the process could not open the file.
    """

    def __init__(self) -> None:
        self.descriptors: dict[str, int] = {}
        self.refusals: dict[str, Rejected] = {}

    def replace(self, answers: Sequence[dict[str, str]], descriptors: Sequence[int]) -> None:
        """Take the files of one message instead of those of the last one.

        Args:
            answers: of `open_files`.
            descriptors: copies of those of `open_files`.
        """
        readable = [answer["path"] for answer in answers if "code" not in answer]
        self.descriptors = dict(zip(readable, descriptors, strict=True))
        self.refusals = {
            answer["path"]: Rejected(answer["code"], answer["what"], fix=answer["fix"])
            for answer in answers
            if "code" in answer
        }


GIVEN_FILES = GivenFiles()


@contextmanager
def open_files(paths: Sequence[str], policy: Policy) -> Iterator[tuple[list[dict[str, str]], list[int]]]:
    """Open files for a confined process, whose `GIVEN_FILES` take what this yields.

    Args:
        paths: at most `MAX_GIVEN_FILES` of them are opened.
        policy: its `max_bytes` bounds every file.

    Returns:
        For each path an answer, with `code`, `what` and `fix` where it is refused; and the open descriptors of the
        others, in their order.
    """
    answers: list[dict[str, str]] = []
    with ExitStack() as stack:
        descriptors: list[int] = []
        for path in dict.fromkeys(paths):
            try:
                if len(descriptors) == MAX_GIVEN_FILES:
                    raise Rejected("unreadable", f"more than {MAX_GIVEN_FILES} files for one picture")
                stream, _ = stack.enter_context(open_regular_file(Path(path), policy))
                descriptors.append(stream.fileno())
                answers.append({"path": path})
            except Rejected as error:
                answers.append({"path": path, "code": error.code, "what": error.what, "fix": error.fix})
        yield answers, descriptors


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
    if str(path) in GIVEN_FILES.refusals:
        raise GIVEN_FILES.refusals[str(path)]
    if str(path) in GIVEN_FILES.descriptors:
        file = os.fdopen(os.dup(GIVEN_FILES.descriptors[str(path)]), "rb")
        with file, open_regular_file(file, policy) as opened:
            yield opened
        return
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
