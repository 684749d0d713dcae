"""Reads and applies the lookup tables of the modality and VOI stages (PS3.3 C.11.1, C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.header import Header


@dataclass(frozen=True)
class LookupTable:
    """A lookup table: `entries[0]` belongs to input `first`; inputs outside clamp to the ends.

    Attributes:
        first: first mapped input value.
        entries: float32 [n].
        bits: bits per entry that the descriptor states.
    """

    first: int
    entries: NDArray[np.float32]
    bits: int

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Look up `values`, rounded to integers."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)], dtype=np.float32)


def read_lut(item: Header, signed: bool, inputs: tuple[float, float]) -> LookupTable | None:
    """Read the table of one LUT sequence item; None where it is unusable.

    Args:
        item: the sequence item.
        signed: whether the first mapped value is signed, by the pixel representation.
        inputs: smallest and largest value that will be looked up; the other sign is taken if only
            that one makes the table overlap them.
    """
    descriptor = item.shorts(0x00283002)
    if len(descriptor) != 3:
        return None
    count, bits = descriptor[0] or 65536, descriptor[2]
    # Only the first mapped value may be signed, never the number of entries or the bits.
    first = descriptor[1] - 65536 if signed and descriptor[1] >= 32768 else descriptor[1]
    other_sign = descriptor[1] - 65536 if descriptor[1] >= 32768 and not signed else descriptor[1]
    if not has_domain_overlap(first, count, inputs) and has_domain_overlap(other_sign, count, inputs):
        first = other_sign
    entries = read_lut_entries(item.raw(0x00283006) or b"", count, bits, item.little_endian)
    if entries is None or not 1 <= bits <= 16:
        return None
    return LookupTable(first, entries, bits)


def has_domain_overlap(first: int, count: int, inputs: tuple[float, float]) -> bool:
    """Whether the table's domain overlaps the range of the inputs."""
    return first <= inputs[1] and first + count > inputs[0]


def read_lut_entries(data: bytes, count: int, bits: int, little_endian: bool) -> NDArray[np.float32] | None:
    """Read 16-bit entries; those of at most 8 bits may be single bytes, which the length shows."""
    if bits <= 8 and count <= len(data) < 2 * count:
        return np.frombuffer(data, dtype=np.uint8, count=count).astype(np.float32)
    if len(data) < 2 * count:
        return None
    words = np.frombuffer(data, dtype="<u2" if little_endian else ">u2", count=count)
    return words.astype(np.float32)
