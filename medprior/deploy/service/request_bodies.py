"""Extracts the radiographs of a request: the body, a form's file, or the parts of a STOW-RS request.

Bodies stay in memory; no spool file holds a patient's image.
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

PICTURE_MEDIA_TYPES = {"image/png", "image/jpeg", "image/tiff", "image/bmp"}
RAW_MEDIA_TYPES = {"application/dicom", "application/octet-stream", "", *PICTURE_MEDIA_TYPES}
MAX_PARTS = 64
MAX_PART_HEADER_BYTES = 4096
# Of a multipart body, the parts are held beside the whole.
MULTIPART_COPIES = 2
RETRY_HEADERS = {"Retry-After": "2"}


@dataclass
class RequestBodyLimiter:
    """Limits the bytes of request bodies in memory over all requests.

    Attributes:
        limit: most bytes; one request alone may exceed it.
        held_bytes: bytes in memory now; a multipart body counts twice.
    """

    limit: int
    held_bytes: int = 0

    @asynccontextmanager
    async def read_body(self, request: Request) -> AsyncIterator[bytes]:
        """Read the request's body; its bytes count for the block.

        Raises:
            Problem: 503 if all requests together hold too much.
        """
        own_bytes = 0
        is_multipart = parse_media_type(request.headers.get("content-type", "")).startswith("multipart/")
        copies = MULTIPART_COPIES if is_multipart else 1
        chunks: list[bytes] = []
        try:
            async for chunk in request.stream():
                byte_count = copies * len(chunk)
                if self.held_bytes + byte_count > self.limit and self.held_bytes > own_bytes:
                    message = "request bodies held in memory exceed the limit; try again"
                    raise Problem(503, "busy", message, RETRY_HEADERS)
                own_bytes += byte_count
                self.held_bytes += byte_count
                chunks.append(chunk)
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self.held_bytes -= own_bytes


@dataclass
class MultipartPart:
    """One part of a multipart body; `slices` are views of the body, not copies."""

    headers: dict[str, str] = field(default_factory=dict)
    slices: list[memoryview] = field(default_factory=list)
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)

    @property
    def data(self) -> bytes:
        """The content of the part, a copy."""
        return b"".join(self.slices)

    def finish_header(self) -> None:
        """Store the header that was read."""
        key = self.name.decode("latin-1").lower()
        self.headers[key] = self.value.decode("latin-1")
        self.name.clear()
        self.value.clear()


class MultipartReader:
    """Collects the parts of a multipart body."""

    def __init__(self) -> None:
        self.parts: list[MultipartPart] = []
        self.complete = False

    def begin_part(self) -> None:
        """Begin a new part."""
        if len(self.parts) == MAX_PARTS:
            raise Problem(400, "malformed_request", f"more than {MAX_PARTS} parts")
        self.parts.append(MultipartPart())

    def append_header_name(self, data: bytes, start: int, end: int) -> None:
        """Append to a header's name."""
        self._append_bounded(self.parts[-1].name, data[start:end])

    def append_header_value(self, data: bytes, start: int, end: int) -> None:
        """Append to a header's value."""
        self._append_bounded(self.parts[-1].value, data[start:end])

    def _append_bounded(self, buffer: bytearray, chunk: bytes) -> None:
        if len(buffer) + len(chunk) > MAX_PART_HEADER_BYTES or len(self.parts[-1].headers) > 16:
            raise Problem(400, "malformed_request", "the headers of a part are too long")
        buffer += chunk

    def finish_header(self) -> None:
        """End a header."""
        self.parts[-1].finish_header()

    def append_content(self, data: bytes, start: int, end: int) -> None:
        """Append to a part's content."""
        self.parts[-1].slices.append(memoryview(data)[start:end])

    def finish(self) -> None:
        """Mark the last boundary as read."""
        self.complete = True


def parse_multipart(body: bytes, content_type: str) -> list[MultipartPart]:
    """Parse a multipart body into its parts.

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
            "on_part_begin": reader.begin_part,
            "on_header_field": reader.append_header_name,
            "on_header_value": reader.append_header_value,
            "on_header_end": reader.finish_header,
            "on_part_data": reader.append_content,
            "on_end": reader.finish,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError:
        raise Problem(400, "malformed_request", "the multipart body is broken") from None
    if not reader.complete or not reader.parts:
        raise Problem(400, "malformed_request", "the multipart body is cut or empty")
    return reader.parts


def extract_radiograph(body: bytes, content_type: str) -> bytes:
    """Extract the one radiograph of a request to `/v1/predict`.

    Raises:
        Problem: 415 for another content type, 400 for a broken form or one without exactly one file.
    """
    media_type = parse_media_type(content_type)
    if media_type in RAW_MEDIA_TYPES:
        return body
    if media_type != "multipart/form-data":
        raise Problem(
            415,
            "content_type",
            "send Content-Type: application/dicom, application/octet-stream, image/png, "
            "image/jpeg, image/tiff, image/bmp, or multipart/form-data with one file",
        )
    parts = parse_multipart(body, content_type)
    files = [part for part in parts if re.search(r"filename\*?=", get_content_disposition(part))]
    if len(files) != 1:
        raise Problem(400, "malformed_request", "send exactly one file in the form")
    return files[0].data


def extract_instances(body: bytes, content_type: str) -> list[bytes]:
    """Extract the DICOM instances of a STOW-RS request (PS3.18 section 10.5.1.1).

    Raises:
        Problem: 415 for another content type, 400 for a broken body.
    """
    if parse_media_type(content_type) != "multipart/related":
        raise Problem(415, "content_type", 'send multipart/related; type="application/dicom"')
    parts = parse_multipart(body, content_type)
    for part in parts:
        if parse_media_type(part.headers.get("content-type", "application/dicom")) != "application/dicom":
            raise Problem(415, "content_type", "every part must be application/dicom")
    return [part.data for part in parts]


def parse_media_type(content_type: str) -> str:
    """A content type without its parameters, lower case."""
    return content_type.partition(";")[0].strip().lower()


def get_content_disposition(part: MultipartPart) -> str:
    """A part's content disposition."""
    return part.headers.get("content-disposition", "")
