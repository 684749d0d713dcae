"""Lookup tables of the modality and VOI stages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.header import Header


@dataclass(frozen=True)
class LookupTable:
    """A lookup table: `entries[0]` belongs to `first`; values outside clamp to the ends.

    Attributes:
        first: first mapped input value.
        entries: float32 [n].
        bits: bits per entry that the descriptor states.
    """

    first: int
    entries: NDArray[np.float32]
    bits: int

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Look up rounded `values`."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)], dtype=np.float32)


def read_lut(item: Header, signed: bool, inputs: tuple[float, float]) -> LookupTable | None:
    """The table of one LUT sequence item; None where it is unusable.

    Args:
        item: the sequence item.
        signed: whether the first mapped value is signed, by the pixel representation.
        inputs: smallest and largest value that will be looked up; decides where only the other sign
            makes the table meet them.
    """
    plain = item.shorts(0x00283002)
    if len(plain) != 3:
        return None
    count, bits = plain[0] or 65536, plain[2]
    # First mapped is signed or not; the length and bits never are.
    first = plain[1] - 65536 if signed and plain[1] >= 32768 else plain[1]
    other = plain[1] - 65536 if plain[1] >= 32768 and not signed else plain[1]
    if not has_domain_overlap(first, count, inputs) and has_domain_overlap(other, count, inputs):
        first = other
    entries = read_lut_entries(item.raw(0x00283006) or b"", count, bits, item.little_endian)
    if entries is None or not 1 <= bits <= 16:
        return None
    return LookupTable(first, entries, bits)


def has_domain_overlap(first: int, count: int, inputs: tuple[float, float]) -> bool:
    """Whether the table's domain meets the inputs."""
    return first <= inputs[1] and first + count > inputs[0]


def read_lut_entries(data: bytes, count: int, bits: int, little_endian: bool) -> NDArray[np.float32] | None:
    """Entries as 16-bit words, or for 8 bits also as single bytes, told apart by the length."""
    if bits <= 8 and count <= len(data) < 2 * count:
        return np.frombuffer(data, dtype=np.uint8, count=count).astype(np.float32)
    if len(data) < 2 * count:
        return None
    words = np.frombuffer(data, dtype="<u2" if little_endian else ">u2", count=count)
    return words.astype(np.float32)
