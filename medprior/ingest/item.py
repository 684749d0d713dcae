"""The work of one worker on one file: read, judge, reduce; nothing heavy travels back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprior.dicom import Identity, Policy, Radiograph, read_image
from medprior.dicom.opening import opened
from medprior.dicom.radiograph import array_sha256
from medprior.dicom.resample import fitted, resized
from medprior.errors import Rejected
from medprior.ingest.descriptor import RawFormat
from medprior.ingest.masks import read_masks
from medprior.ingest.plan import Source

WHITE = 65535
TURNS = ("orientation_mirrored", "orientation_rotated")


@dataclass(frozen=True)
class Item:
    """What a worker hands back of one usable file.

    Shape:
        stored: uint16 [h, w], the picture reduced to the store size, 65535 is white.
        valid: bool [h, w], or None where all of it is.
        masks: structure -> bool [h, w].

    Attributes:
        size: rows and columns before reduction.
        facts: the radiograph without its arrays.
        identity: raw identifiers; they stay within the parent process.
    """

    stored: NDArray[np.uint16]
    valid: NDArray[np.bool_] | None
    masks: dict[str, NDArray[np.bool_]]
    size: tuple[int, int]
    facts: Radiograph
    identity: Identity


@dataclass(frozen=True)
class Refused:
    """What a worker hands back of a file that is not usable."""

    code: str
    message: str


def read_item(source: Source, policy: Policy, store_size: int) -> Item | Refused:
    """Read one source; every fault of the file becomes a code."""
    try:
        if source.raw is not None:
            found = read_raw(Path(source.path), source.raw, policy)
        else:
            found = read_image(source.path, policy)
        if source.stretch:
            found = replace(found, pixels=stretched(found.pixels))
        rows, cols = found.pixels.shape
        size = fitted((rows, cols), store_size)
        turned = next((flag for flag in found.flags if flag in TURNS), "")
        masks, flags = read_masks(source.masks, size, turned, policy)
        picture = np.rint(np.clip(resized(found.pixels, *size), 0, 1) * WHITE).astype(np.uint16)
        valid = None
        if not found.valid.all():
            valid = resized(found.valid.astype(np.float32), *size) >= 0.5
        nothing = np.zeros((0, 0))
        facts = replace(
            found,
            pixels=nothing.astype(np.float32),
            valid=nothing.astype(bool),
            flags=(*found.flags, *flags),
            identity=Identity(),
        )
        return Item(picture, valid, masks, (rows, cols), facts, found.identity)
    except Rejected as error:
        return Refused(error.code, error.what)
    except MemoryError:
        return Refused("memory", "the file needs more memory than a worker may use")
    except Exception as error:
        # A bug of ours must not end the run either; only the kind of error is kept.
        return Refused("internal", f"unforeseen {type(error).__name__}")


def stretched(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The picture with its smallest value at 0 and its largest at 1."""
    low, high = float(pixels.min()), float(pixels.max())
    return np.asarray((pixels - np.float32(low)) / np.float32(high - low), dtype=np.float32)


def read_raw(path: Path, layout: RawFormat, policy: Policy) -> Radiograph:
    """A headerless picture.

    Raises:
        Rejected: its length does not fit, or it has no contrast.
    """
    with opened(path, policy) as (stream, size):
        if size != 2 * layout.rows * layout.cols:
            raise Rejected("pixel_length", "the raw file has not the stated size")
        stored = np.frombuffer(stream.read(), dtype=">u2" if layout.big_endian else "<u2")
    stored = stored.reshape(layout.rows, layout.cols) & ((1 << layout.bits) - 1)
    if stored.min() == stored.max():
        raise Rejected("constant", "all pixels have the same value")
    pixels = stored.astype(np.float32) / np.float32((1 << layout.bits) - 1)
    spacing = layout.spacing_mm
    return Radiograph(
        pixels=1 - pixels if layout.inverted else pixels,
        valid=np.ones(pixels.shape, dtype=bool),
        spacing_mm=(spacing, spacing) if spacing else None,
        spacing_kind="film" if spacing else "none",
        polarity_inverted=layout.inverted,
        pixel_sha256=array_sha256(stored),
        syntax="raw",
    )
