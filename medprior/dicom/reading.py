"""`read_radiograph`: from a file to a picture ready to look at, every step in its order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from medprior.dicom import facts
from medprior.dicom.decoders import Layout
from medprior.dicom.header import Header
from medprior.dicom.levels import Levels
from medprior.dicom.modality import modality_values
from medprior.dicom.opening import opened
from medprior.dicom.orientation import turn
from medprior.dicom.padding import unpadded, within_shutter
from medprior.dicom.parsing import parsed, parser_faults
from medprior.dicom.pixel_bytes import pixel_bytes
from medprior.dicom.policy import Policy
from medprior.dicom.radiograph import Radiograph, array_sha256
from medprior.dicom.resample import resized
from medprior.dicom.scope import judged
from medprior.dicom.spacing import aspect_ratio, spacing
from medprior.dicom.stored import cells, layout_of, stored_values
from medprior.dicom.voi import voi_brightness
from medprior.errors import Rejected


@dataclass(frozen=True)
class Shown:
    """A display-ready picture before it is made a `Radiograph`."""

    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    inverted: bool
    flags: tuple[str, ...]


def read_radiograph(source: Path | str | BinaryIO, policy: Policy | None = None) -> Radiograph:
    """Read one DICOM radiograph, display-ready.

    The order is PS3.3's: stored bits, padding, modality, values of interest, polarity, then
    orientation and square pixels.

    Args:
        source: a regular file, or a seekable binary stream.
        policy: what to accept; safe defaults.

    Returns:
        The radiograph; `pixels` float32 [rows, cols] in [0, 1], air dark and bone bright.

    Raises:
        Rejected: the file is no usable chest radiograph; `.code` says why, see the room's README.
    """
    policy = policy or Policy()
    with opened(source, policy) as (stream, size):
        found = parsed(stream, size, policy)
        header = found.header
        with parser_faults():
            flags = judged(header, policy)
            view, view_flags = facts.view(header)
            if view in facts.SIDE and not policy.lateral:
                raise Rejected("lateral", "a lateral view")
            layout = layout_of(header, policy)
            array = cells(pixel_bytes(found), found.syntax, layout, header.little_endian)
    with parser_faults():
        levels = Levels(array)
        stored = stored_values(levels, layout)
        same = bool((stored == np.arange(levels.count)).all())
        digest = array_sha256(array, None if same else stored)
        values, modality_flags = modality_values(levels, stored, header, layout.signed)
        shutter_flags = leave_out(levels, stored, header, layout)
        shown = displayed(levels, values, header, layout.signed)
        # A large picture barely fits a worker: what is done with goes at once.
        del array, levels
        millimetres, kind, spacing_flags = spacing(header)
        ratio, ratio_flags = aspect_ratio(header, millimetres)
        pixels, valid = squared(shown.pixels, shown.valid, ratio)
        side = min(millimetres) if millimetres and ratio != 1 else None
        said = (*flags, *view_flags, *shutter_flags, *modality_flags)
        said = (*said, *shown.flags, *spacing_flags, *ratio_flags)
        return Radiograph(
            pixels=pixels,
            valid=valid,
            view=view,
            sex=facts.sex(header),
            age=facts.age(header),
            spacing_mm=(side, side) if side else millimetres,
            spacing_kind=kind,
            polarity_inverted=shown.inverted,
            flags=tuple(dict.fromkeys((*said, *(["syntax_guessed"] * found.guessed_syntax)))),
            pixel_sha256=digest,
            syntax=found.syntax,
            identity=facts.identity(header),
            stored_rows=layout.rows,
            stored_cols=layout.cols,
        )


def leave_out(
    levels: Levels, stored: NDArray[np.int32], header: Header, layout: Layout
) -> tuple[str, ...]:
    """Leave out of the picture what is padding or behind a shutter; flags."""
    shutter, flags = within_shutter(header, (layout.rows, layout.cols))
    for part in (unpadded(levels, stored, header, layout), shutter):
        if part is not None:
            levels.mask(part)
    return flags


def displayed(levels: Levels, values: NDArray[np.float32], header: Header, signed: bool) -> Shown:
    """Values of interest, polarity and orientation, in this order.

    Args:
        levels: the picture.
        values: float32 [levels], their modality values.
        header: of the file.
        signed: whether stored values are.

    Raises:
        Rejected: `constant`.
    """
    bright, flags = voi_brightness(levels, values, header, signed)
    inverted = header.text(0x00280004) == "MONOCHROME1"
    if inverted:
        np.subtract(1, bright, out=bright)
    darkest, brightest = levels.extremes(bright)
    # Also where a value is not a number: it is then the smallest and the largest.
    if not brightest - darkest > 1e-6:
        raise Rejected("constant", "the picture has no contrast")
    pixels, valid = levels.through(bright), levels.valid
    if valid is None:
        valid = np.ones(pixels.shape, dtype=bool)
    else:
        np.copyto(pixels, 0, where=~valid)
    turned, turn_flags = turn(header)
    flags = (*flags, *turn_flags)
    if header.text(0x20500020) == ("IDENTITY" if inverted else "INVERSE"):
        flags = (*flags, "presentation_shape_conflict")
    return Shown(
        np.ascontiguousarray(turned(pixels)), np.ascontiguousarray(turned(valid)), inverted, flags
    )


def squared(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], ratio: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Resample to square pixels of the finer of the two spacings.

    Args:
        pixels: float32 [rows, cols].
        valid: bool [rows, cols].
        ratio: height over width of one pixel.
    """
    if ratio == 1:
        return pixels, valid
    rows, cols = pixels.shape
    if ratio > 1:
        rows = round(rows * ratio)
    else:
        cols = round(cols / ratio)
    inside = resized(valid.astype(np.float32), rows, cols) > 0.5
    return np.clip(resized(pixels, rows, cols), 0, 1) * inside, inside
