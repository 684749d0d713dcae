"""`read_radiograph`: from a file to a picture ready to look at, every step in its order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from medprior.dicom import header_metadata
from medprior.dicom.decoding.decoders import PixelLayout
from medprior.dicom.decoding.pixel_bytes import read_pixel_bytes
from medprior.dicom.decoding.stored_values import compute_stored_values, read_pixel_layout, read_stored_cells
from medprior.dicom.display.levels import GreyLevels
from medprior.dicom.display.modality import compute_modality_values
from medprior.dicom.display.orientation import find_upright_turn
from medprior.dicom.display.padding import compute_shutter_mask, compute_unpadded_mask
from medprior.dicom.display.resample import resize_pixels
from medprior.dicom.display.voi import apply_voi
from medprior.dicom.eligibility import check_chest_radiograph
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.header import Header
from medprior.dicom.parsing import convert_parser_errors, parse_header
from medprior.dicom.policy import Policy
from medprior.dicom.radiograph import Radiograph, compute_pixel_sha256
from medprior.dicom.spacing import read_pixel_aspect, read_pixel_spacing
from medprior.errors import Rejected


@dataclass(frozen=True)
class DisplayImage:
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
    with open_regular_file(source, policy) as (stream, size):
        found = parse_header(stream, size, policy)
        header = found.header
        with convert_parser_errors():
            flags = check_chest_radiograph(header, policy)
            view, view_flags = header_metadata.read_view(header)
            if view in header_metadata.LATERAL_VIEWS and not policy.lateral:
                raise Rejected("lateral", "a lateral view")
            layout = read_pixel_layout(header, policy)
            array = read_stored_cells(read_pixel_bytes(found), found.syntax, layout, header.little_endian)
    with convert_parser_errors():
        levels = GreyLevels(array)
        stored = compute_stored_values(levels, layout)
        same = bool((stored == np.arange(levels.count)).all())
        digest = compute_pixel_sha256(array, None if same else stored)
        values, modality_flags = compute_modality_values(levels, stored, header, layout.signed)
        shutter_flags = mask_padding_and_shutter(levels, stored, header, layout)
        shown = render_display_image(levels, values, header, layout.signed)
        # A large picture barely fits a worker: what is done with goes at once.
        del array, levels
        millimetres, kind, spacing_flags = read_pixel_spacing(header)
        ratio, ratio_flags = read_pixel_aspect(header, millimetres)
        pixels, valid = resample_to_square_pixels(shown.pixels, shown.valid, ratio)
        side = min(millimetres) if millimetres and ratio != 1 else None
        said = (*flags, *view_flags, *shutter_flags, *modality_flags)
        said = (*said, *shown.flags, *spacing_flags, *ratio_flags)
        return Radiograph(
            pixels=pixels,
            valid=valid,
            view=view,
            sex=header_metadata.read_sex(header),
            age=header_metadata.read_age_years(header),
            spacing_mm=(side, side) if side else millimetres,
            spacing_kind=kind,
            polarity_inverted=shown.inverted,
            flags=tuple(dict.fromkeys((*said, *(["syntax_guessed"] * found.guessed_syntax)))),
            pixel_sha256=digest,
            syntax=found.syntax,
            identity=header_metadata.read_identifiers(header),
            stored_rows=layout.rows,
            stored_cols=layout.cols,
        )


def mask_padding_and_shutter(
    levels: GreyLevels, stored: NDArray[np.int32], header: Header, layout: PixelLayout
) -> tuple[str, ...]:
    """Leave out of the picture what is padding or behind a shutter; flags."""
    shutter, flags = compute_shutter_mask(header, (layout.rows, layout.cols))
    for part in (compute_unpadded_mask(levels, stored, header, layout), shutter):
        if part is not None:
            levels.mask(part)
    return flags


def render_display_image(levels: GreyLevels, values: NDArray[np.float32], header: Header, signed: bool) -> DisplayImage:
    """Values of interest, polarity and orientation, in this order.

    Args:
        levels: the picture.
        values: float32 [levels], their modality values.
        header: of the file.
        signed: whether stored values are.

    Raises:
        Rejected: `constant`.
    """
    bright, flags = apply_voi(levels, values, header, signed)
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
    turned, turn_flags = find_upright_turn(header)
    flags = (*flags, *turn_flags)
    if header.text(0x20500020) == ("IDENTITY" if inverted else "INVERSE"):
        flags = (*flags, "presentation_shape_conflict")
    return DisplayImage(np.ascontiguousarray(turned(pixels)), np.ascontiguousarray(turned(valid)), inverted, flags)


def resample_to_square_pixels(
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
    inside = resize_pixels(valid.astype(np.float32), rows, cols) > 0.5
    return np.clip(resize_pixels(pixels, rows, cols), 0, 1) * inside, inside
