"""A quick walk over a data set's skeleton: how deep and how many, before a parser builds it."""

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
        end: where it ends; None where an end mark says so.
        kind: `sequence`, `item` or `fragments`.
        implicit: whether its elements are in implicit VR.
    """

    end: int | None
    kind: str
    implicit: bool


class StructureWalker:
    """A walk from the stream's position to the first element that `ends` says ends it.

    Args:
        stream: standing at the first element.
        implicit: VRs are not written.
        little: byte order.
        most: elements and items accepted, nested ones included.
        ends: says of a tag at the top level whether the walk is over.
    """

    def __init__(
        self,
        stream: BinaryIO,
        implicit: bool,
        little: bool,
        most: int,
        ends: Callable[[int], bool],
    ) -> None:
        order = "<" if little else ">"
        self._stream, self._implicit, self._most, self._ends = stream, implicit, most, ends
        self._tag = struct.Struct(f"{order}HH")
        self._long, self._short = struct.Struct(f"{order}L"), struct.Struct(f"{order}H")
        self._levels: list[OpenElement] = []

    def check(self) -> None:
        """Walk, and go back to where it began. What makes no sense is left to the parser.

        Raises:
            Rejected: `too_deep`, `too_many_elements` or `malformed`.
        """
        begin = self._stream.tell()
        for count in range(self._most + 1):
            if not self._step():
                break
            if count == self._most:
                raise Rejected("too_many_elements", f"more than {self._most} elements")
        self._stream.seek(begin)

    def _step(self) -> bool:
        """Pass one element or mark; False at the end."""
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
            self._mark(tag, self._long.unpack_from(head, 4)[0], position + 8)
            return True
        return self._element(tag, head, position)

    def _mark(self, tag: int, length: int, position: int) -> None:
        """Open an item, or close what an end mark closes."""
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

    def _element(self, tag: int, head: bytes, position: int) -> bool:
        """Pass an element's value, or open its sequence."""
        implicit = self._levels[-1].implicit if self._levels else self._implicit
        vr = head[4:6]
        if implicit or not vr.isalpha() or not vr.isupper():
            length, vr = self._long.unpack_from(head, 4)[0], b""
        elif vr in LONG_VRS:
            more = self._stream.read(4)
            if len(more) < 4:
                return False
            length = self._long.unpack(more)[0]
        else:
            length = self._short.unpack_from(head, 6)[0]
        if tag == CHARACTER_SET_TAG and length > MAX_CHARACTER_SET_BYTES:
            # The parser looks at every value of it, wherever it stands.
            raise Rejected("malformed", "the list of character sets is absurdly long")
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
