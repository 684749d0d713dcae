"""The radiographs in a request: the body itself, a form's file, or the parts of a STOW-RS request.

Bodies stay in memory: no spool file ever holds a patient's picture.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from medprior.pages.problem import Problem

RAW_MEDIA_TYPES = {"application/dicom", "application/octet-stream", "image/png", "image/jpeg", ""}
MAX_PARTS = 64
MAX_PART_HEADER_BYTES = 4096
RETRY_HEADERS = {"Retry-After": "2"}


@dataclass
class BodyMemory:
    """Bytes of request bodies that are in memory now, over all requests."""

    limit: int
    held_bytes: int = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The request's body, counted for the block.

        Raises:
            Problem: 503 where all requests together hold too much.
        """
        mine = 0
        chunks: list[bytes] = []
        try:
            async for chunk in request.stream():
                if self.held_bytes + len(chunk) > self.limit and self.held_bytes > mine:
                    raise Problem(503, "busy", "too much is waiting; try again", RETRY_HEADERS)
                mine += len(chunk)
                self.held_bytes += len(chunk)
                chunks.append(chunk)
            whole = b"".join(chunks)
            chunks.clear()
            yield whole
        finally:
            self.held_bytes -= mine


@dataclass
class MultipartPart:
    """One part of a multipart body."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)

    def finish_header(self) -> None:
        """Keep the header just read."""
        key = self.name.decode("latin-1").lower()
        self.headers[key] = self.value.decode("latin-1")
        self.name.clear()
        self.value.clear()


class MultipartReader:
    """Collects the parts of a multipart body."""

    def __init__(self) -> None:
        self.parts: list[MultipartPart] = []
        self.whole = False

    def begin(self) -> None:
        """A new part."""
        if len(self.parts) == MAX_PARTS:
            raise Problem(400, "malformed_request", f"more than {MAX_PARTS} parts")
        self.parts.append(MultipartPart())

    def header_name(self, data: bytes, start: int, end: int) -> None:
        """Some of a header's name."""
        self._append_bounded(self.parts[-1].name, data[start:end])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        """Some of a header's value."""
        self._append_bounded(self.parts[-1].value, data[start:end])

    def _append_bounded(self, where: bytearray, more: bytes) -> None:
        if len(where) + len(more) > MAX_PART_HEADER_BYTES or len(self.parts[-1].headers) > 16:
            raise Problem(400, "malformed_request", "the headers of a part are too long")
        where += more

    def header_end(self) -> None:
        """A header is whole."""
        self.parts[-1].finish_header()

    def content(self, data: bytes, start: int, end: int) -> None:
        """Some of a part's content."""
        self.parts[-1].data += memoryview(data)[start:end]

    def end(self) -> None:
        """The last boundary was seen."""
        self.whole = True


def parse_multipart(body: bytes, content_type: str) -> list[MultipartPart]:
    """The parts of a multipart body.

    Raises:
        Problem: 400 `malformed_request`.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    reader = MultipartReader()
    if not 0 < len(boundary) <= 70:
        raise Problem(400, "malformed_request", "a multipart body without its boundary")
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": reader.begin,
            "on_header_field": reader.header_name,
            "on_header_value": reader.header_value,
            "on_header_end": reader.header_end,
            "on_part_data": reader.content,
            "on_end": reader.end,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError:
        raise Problem(400, "malformed_request", "the multipart body is broken") from None
    if not reader.whole or not reader.parts:
        raise Problem(400, "malformed_request", "the multipart body is cut or empty")
    return reader.parts


def extract_radiograph(body: bytes, content_type: str) -> bytes:
    """The one radiograph of a request to `/v1/predict`.

    Raises:
        Problem: 415 another content type, 400 a broken form or one without exactly one file.
    """
    kind = parse_media_type(content_type)
    if kind in RAW_MEDIA_TYPES:
        return body
    if kind != "multipart/form-data":
        raise Problem(
            415,
            "content_type",
            "send Content-Type: application/dicom, application/octet-stream, image/png, "
            "image/jpeg, or multipart/form-data with one file",
        )
    parts = parse_multipart(body, content_type)
    files = [part for part in parts if re.search(r"filename\*?=", content_disposition(part))]
    if len(files) != 1:
        raise Problem(400, "malformed_request", "send exactly one file in the form")
    return bytes(files[0].data)


def extract_instances(body: bytes, content_type: str) -> list[bytes]:
    """The DICOM instances of a STOW-RS request (PS3.18 section 10.5.1.1).

    Raises:
        Problem: 415 another content type, 400 a broken body.
    """
    if parse_media_type(content_type) != "multipart/related":
        raise Problem(415, "content_type", 'send multipart/related; type="application/dicom"')
    parts = parse_multipart(body, content_type)
    for part in parts:
        if parse_media_type(part.headers.get("content-type", "application/dicom")) != "application/dicom":
            raise Problem(415, "content_type", "every part must be application/dicom")
    return [bytes(part.data) for part in parts]


def parse_media_type(content_type: str) -> str:
    """A content type without its parameters, lower case."""
    return content_type.partition(";")[0].strip().lower()


def content_disposition(part: MultipartPart) -> str:
    """A part's content disposition."""
    return part.headers.get("content-disposition", "")
