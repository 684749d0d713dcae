"""Lenient access to a DICOM header: values that cannot be read count as absent, not as errors."""

from __future__ import annotations

import math
import struct
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

MAX_TEXT_BYTES = 2**16
BINARY_NUMBER_FORMATS = {"FD": ("d", 8), "FL": ("f", 4), "US": ("H", 2), "SS": ("h", 2), "UL": ("L", 4), "SL": ("l", 4)}


class Header:
    """Typed access to a data set by tag number that does not rely on value representations.

    Args:
        dataset: the parsed data set.
        little_endian: byte order of its values.
    """

    def __init__(self, dataset: Dataset, little_endian: bool = True) -> None:
        self.dataset = dataset
        self.little_endian = little_endian

    def __contains__(self, tag: int) -> bool:
        return tag in self.dataset

    def raw(self, tag: int) -> bytes | None:
        """The value's bytes as stored in the file; None where absent or not plain bytes."""
        element: Any = self.dataset.get_item(tag) if tag in self.dataset else None
        if element is None:
            return None
        value: Any = element.value
        if isinstance(element, RawDataElement) or isinstance(value, (bytes, bytearray)):
            return bytes(value or b"")
        return None

    def vr(self, tag: int) -> str | None:
        """The value representation the file states, None in implicit VR."""
        element = self.dataset.get_item(tag) if tag in self.dataset else None
        return None if element is None else element.VR

    def texts(self, tag: int) -> list[str]:
        """The values of a text element, blanks and NULs stripped, in upper case.

        Bytes beyond 64 KiB are ignored.
        """
        raw = self.raw(tag)
        if not raw:
            return []
        text = raw[:MAX_TEXT_BYTES].decode("latin-1").replace("\0", " ")
        return [part.strip().upper() for part in text.split("\\")]

    def text(self, tag: int) -> str:
        """The first value of a text element, or ''."""
        return next(iter(self.texts(tag)), "")

    def shorts(self, tag: int, signed: bool = False) -> list[int]:
        """The values of a US or SS element; empty where its length is odd or its VR another."""
        raw, vr = self.raw(tag), self.vr(tag)
        if not raw or len(raw) % 2 or vr not in {None, "US", "SS", "OW", "UN"}:
            return []
        order = "<" if self.little_endian else ">"
        return list(struct.unpack(f"{order}{len(raw) // 2}{'h' if signed else 'H'}", raw))

    def short(self, tag: int, signed: bool = False) -> int | None:
        """The single value of a US or SS element; None where there is not exactly one."""
        values = self.shorts(tag, signed)
        return values[0] if len(values) == 1 else None

    def decimals(self, tag: int) -> list[float]:
        """The values of a DS, IS or binary number element; NaN for each that is not a number."""
        raw, vr = (self.raw(tag) or b"")[:MAX_TEXT_BYTES], self.vr(tag)
        if not raw:
            return []
        if vr in BINARY_NUMBER_FORMATS:
            kind, size = BINARY_NUMBER_FORMATS[vr]
            order = "<" if self.little_endian else ">"
            count = len(raw) // size
            return list(struct.unpack(f"{order}{count}{kind}", raw[: count * size]))
        return [parse_decimal(part) for part in self.texts(tag)]

    def items(self, tag: int) -> list[Header]:
        """The items of a sequence; empty where there is none or it cannot be read."""
        if tag not in self.dataset:
            return []
        try:
            value = self.dataset[tag].value
            return [Header(item, self.little_endian) for item in value if isinstance(item, Dataset)]
        except Exception:
            # pydicom raises many types here, some quoting the file: an unreadable sequence is absent.
            return []

    def unicode(self, tag: int) -> str:
        """A text value decoded by the file's character set; as Latin-1 where that fails.

        Of a value above 64 KiB only the first 64 KiB are decoded, as Latin-1.
        """
        raw = self.raw(tag) or b""
        if len(raw) > MAX_TEXT_BYTES:
            return raw[:MAX_TEXT_BYTES].decode("latin-1")
        try:
            value = self.dataset[tag].value
            return "" if value is None else str(value)
        except Exception:
            return raw.decode("latin-1")


def parse_decimal(text: str) -> float:
    """Parse a decimal string; NaN for anything else, underscores and commas included."""
    if not text or any(char not in "0123456789+-.E" for char in text):
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan
