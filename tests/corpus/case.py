"""One odd or hostile input, and what must come of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medprior.dicom.decoding.samples import create_sample_dataset, serialise_dataset

Array = NDArray[Any]
ROWS, COLS = 96, 80


@dataclass(frozen=True)
class Case:
    """An input and its expected outcome.

    Attributes:
        name: unique.
        axis: decode, metadata, malformed, resource or policy.
        make: the file's bytes.
        picture: expected brightness, float64 [rows, cols]; None where no picture may come out.
        atol: largest difference allowed.
        codes: the codes of which one must come; with a picture also: either is right.
        flags: flags that must be there.
        facts: other facts that must hold.
    """

    name: str
    axis: str
    make: Callable[[], bytes]
    picture: Array | None = None
    atol: float = 2e-6
    codes: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    facts: dict[str, Any] = field(default_factory=dict)


def stored(bits: int = 12, seed: int = 0, rows: int = ROWS, cols: int = COLS) -> Array:
    """An asymmetric picture with a little noise that uses all of `bits`: int64 [rows, cols]."""
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : cols * 1j]
    noise = np.random.default_rng(seed).normal(0, 0.003, (rows, cols))
    scene = 0.5 * x + 0.3 * y**2 + 0.1 * np.sin(9 * x * y) + noise
    scene = (scene - scene.min()) / np.ptp(scene)
    return np.rint(scene * (2**bits - 1)).astype(np.int64)


P = stored()


def full(values: Array) -> Array:
    """The full range of `values` on [0, 1]."""
    values = np.asarray(values, dtype=np.float64)
    return (values - values.min()) / np.ptp(values)


def cells(values: Array, signed: bool = False, size: int = 2) -> Array:
    """Stored values as cells."""
    return values.astype(f"{'i' if signed else 'u'}{size}")


def dataset(values: Array | None = None, bits: int = 12, **elements: Any) -> Dataset:
    """A DX image for presentation around unsigned 16-bit `values`, or cells as they are."""
    array = P if values is None else values
    if array.dtype == np.int64:
        array = cells(array)
    return create_sample_dataset(array, bits, **elements)


def dicom(values: Array | None = None, bits: int = 12, **elements: Any) -> bytes:
    """The bytes of `dataset`."""
    return serialise_dataset(dataset(values, bits, **elements))


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """One explicit little-endian element; `length` may lie."""
    size = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in {"OB", "OW", "OF", "OD", "SQ", "UN", "UT", "UC", "UR", "OL"}:
        return head + struct.pack("<HL", 0, size) + value
    return head + struct.pack("<H", size) + value


def body_at(data: bytes) -> int:
    """Where the data set begins behind the file meta."""
    return 144 + int(struct.unpack_from("<L", data, 140)[0])


def relabelled(data: bytes, old: str, new: str) -> bytes:
    """A file whose meta names another syntax, lengths put right."""
    before, after = ((text + "\0" * (len(text) % 2)).encode() for text in (old, new))
    at = data.index(b"\x02\x00\x10\x00UI")
    group = int.from_bytes(data[140:144], "little") + len(after) - len(before)
    head = data[:140] + group.to_bytes(4, "little") + data[144 : at + 6]
    return head + struct.pack("<H", len(after)) + after + data[at + 8 + len(before) :]


def inserted(data: bytes, extra: bytes, before: int = 0x00280002) -> bytes:
    """`data`, an explicit little-endian file, with `extra` put before an element."""
    at = data.index(struct.pack("<HH", before >> 16, before & 0xFFFF), body_at(data))
    return data[:at] + extra + data[at:]


def ok(name: str, axis: str, make: Callable[[], bytes], picture: Array, **more: Any) -> Iterator[Case]:
    """A case with a picture."""
    flags, codes = frozenset(more.pop("flags", ())), frozenset(more.pop("codes", ()))
    atol = more.pop("atol", 2e-6)
    yield Case(name, axis, make, np.asarray(picture, np.float64), atol, codes, flags, more)


def bad(name: str, axis: str, make: Callable[[], bytes], *codes: str) -> Iterator[Case]:
    """A case that must be refused with one of `codes`."""
    yield Case(name, axis, make, codes=frozenset(codes))
