"""Limits the depth and number of elements of a data set before a parser builds it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from medprior.errors import Rejected

UNDEFINED_LENGTH = 0xFFFFFFFF
MAX_SEQUENCE_DEPTH = 64
CHARACTER_SET_TAG, MAX_CHARACTER_SET_BYTES = 0x00080005, 1024
ITEM_TAG, ITEM_END_TAG, SEQUENCE_END_TAG = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
# Value representations whose explicit length field has 32 bits (PS3.5 7.1.2).
LONG_VRS = {vr.encode() for vr in EXPLICIT_VR_LENGTH_32}


@dataclass
class OpenElement:
    """One open item or sequence.

    Attributes:
        end: position of its end; None where a delimitation item ends it.
        kind: `sequence`, `item` or `fragments`.
        implicit: whether its elements have no VR.
    """

    end: int | None
    kind: str
    implicit: bool


class DataElementWalker:
    """Walks over element headers from the stream's position to the first tag that `ends` accepts.

    Args:
        stream: positioned at the first element.
        implicit: whether elements have no VR.
        little: whether the byte order is little endian.
        max_elements: largest number of elements and items, nested ones included.
        ends: whether a tag at the top level ends the walk.
    """

    def __init__(
        self, stream: BinaryIO, implicit: bool, little: bool, max_elements: int, ends: Callable[[int], bool]
    ) -> None:
        order = "<" if little else ">"
        self._stream, self._implicit, self._max_elements, self._ends = stream, implicit, max_elements, ends
        self._tag = struct.Struct(f"{order}HH")
        self._long, self._short = struct.Struct(f"{order}L"), struct.Struct(f"{order}H")
        self._levels: list[OpenElement] = []

    def check(self) -> None:
        """Walk, then seek back to the start. Errors of syntax are left to the parser.

        Raises:
            Rejected: `too_deep`, `too_many_elements` or `malformed`.
        """
        start = self._stream.tell()
        for count in range(self._max_elements + 1):
            if not self._step():
                break
            if count == self._max_elements:
                raise Rejected("too_many_elements", f"more than {self._max_elements} elements")
        self._stream.seek(start)

    def _step(self) -> bool:
        """Skip one element or item tag; False at the end."""
        position = self._stream.tell()
        while self._levels and (end := self._levels[-1].end) is not None and position >= end:
            self._levels.pop()
            position = self._stream.seek(end)
        head = self._stream.read(8)
        if len(head) < 8:
            return False
        group, element = self._tag.unpack_from(head)
        tag = group << 16 | element
        if not self._levels and self._ends(tag):
            return False
        if tag in {ITEM_TAG, ITEM_END_TAG, SEQUENCE_END_TAG}:
            self._handle_item_tag(tag, self._long.unpack_from(head, 4)[0], position + 8)
            return True
        return self._handle_element(tag, head, position)

    def _handle_item_tag(self, tag: int, length: int, position: int) -> None:
        """Open an item, or close what a delimitation item ends."""
        top = self._levels[-1] if self._levels else None
        if tag == ITEM_TAG and top and top.kind == "fragments":
            self._stream.seek(length, io.SEEK_CUR)
        elif tag == ITEM_TAG:
            end = None if length == UNDEFINED_LENGTH else position + length
            self._levels.append(OpenElement(end, "item", top.implicit if top else self._implicit))
        elif tag == ITEM_END_TAG and top and top.kind == "item":
            self._levels.pop()
        elif tag == SEQUENCE_END_TAG:
            while self._levels and self._levels.pop().kind == "item":
                continue

    def _handle_element(self, tag: int, head: bytes, position: int) -> bool:
        """Skip an element's value, or open its sequence; False at the end."""
        implicit = self._levels[-1].implicit if self._levels else self._implicit
        vr = head[4:6]
        if implicit or not vr.isalpha() or not vr.isupper():
            length, vr = self._long.unpack_from(head, 4)[0], b""
        elif vr in LONG_VRS:
            length_field = self._stream.read(4)
            if len(length_field) < 4:
                return False
            length = self._long.unpack(length_field)[0]
        else:
            length = self._short.unpack_from(head, 6)[0]
        if tag == CHARACTER_SET_TAG and length > MAX_CHARACTER_SET_BYTES:
            # The parser decodes each of its values, at any depth.
            raise Rejected("malformed", "the list of character sets is too long")
        is_sequence = vr == b"SQ" or (not vr and dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ")
        if length == UNDEFINED_LENGTH:
            kind = "fragments" if vr.startswith(b"O") else "sequence"
            self._open(OpenElement(None, kind, implicit or vr == b"UN"))
        elif is_sequence and length:
            self._open(OpenElement(self._stream.tell() + length, "sequence", implicit))
        else:
            self._stream.seek(length, io.SEEK_CUR)
        return True

    def _open(self, level: OpenElement) -> None:
        self._levels.append(level)
        if sum(level.kind != "item" for level in self._levels) > MAX_SEQUENCE_DEPTH:
            raise Rejected("too_deep", "sequences are nested too deeply")
