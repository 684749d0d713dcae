"""Reads one DICOM radiograph as a display-ready picture: `read_radiograph`."""

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
from medprior.dicom.display.orientation import find_reorientation
from medprior.dicom.display.padding import compute_shutter_mask, compute_unpadded_mask
from medprior.dicom.display.polarity import find_polarity_conflict, invert_polarity, is_polarity_inverted
from medprior.dicom.display.resample import resize_pixels
from medprior.dicom.display.voi import apply_voi
from medprior.dicom.eligibility import check_chest_radiograph
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.header import Header
from medprior.dicom.parsing import convert_parser_errors, parse_header
from medprior.dicom.policy import Policy
from medprior.dicom.radiograph import Radiograph, compute_pixel_sha256, find_low_range
from medprior.dicom.spacing import read_pixel_aspect, read_pixel_spacing
from medprior.errors import Rejected


@dataclass(frozen=True)
class DisplayImage:
    """A display-ready picture before resampling to square pixels."""

    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    inverted: bool
    flags: tuple[str, ...]


def read_radiograph(source: Path | str | BinaryIO, policy: Policy | None = None) -> Radiograph:
    """Read one DICOM radiograph, display-ready.

    The order is that of PS3.3: stored bits, padding, modality, values of interest, polarity; then
    orientation and square pixels.

    Args:
        source: a regular file, or a seekable binary stream.
        policy: which files to accept; safe defaults.

    Returns:
        The radiograph; `pixels` float32 [rows, cols] in [0, 1], air dark and bone bright.

    Raises:
        Rejected: the file is not a usable chest radiograph; `.code` says why, see CODES.md.
    """
    policy = policy or Policy()
    with open_regular_file(source, policy) as (stream, size):
        parsed = parse_header(stream, size, policy)
        header = parsed.header
        with convert_parser_errors():
            flags = check_chest_radiograph(header, policy)
            view, view_flags = header_metadata.read_view(header)
            if view in header_metadata.LATERAL_VIEWS and not policy.lateral:
                raise Rejected("lateral", "a lateral view")
            layout = read_pixel_layout(header, policy)
            cells = read_stored_cells(read_pixel_bytes(parsed), parsed.syntax, layout, header.little_endian)
    with convert_parser_errors():
        levels = GreyLevels(cells)
        stored = compute_stored_values(levels, layout)
        is_identity = bool((stored == np.arange(levels.count)).all())
        digest = compute_pixel_sha256(cells, None if is_identity else stored)
        values, modality_flags = compute_modality_values(levels, stored, header, layout.signed)
        shutter_flags = mask_padding_and_shutter(levels, stored, header, layout)
        display = render_display_image(levels, values, header, layout.signed)
        # A large picture barely fits into the memory of a worker: free arrays as early as possible.
        del cells, levels
        spacing, spacing_kind, spacing_flags = read_pixel_spacing(header)
        ratio, ratio_flags = read_pixel_aspect(header, spacing)
        pixels, valid = resample_to_square_pixels(display.pixels, display.valid, ratio)
        if spacing and ratio != 1:
            spacing = (min(spacing), min(spacing))
        flags = (*flags, *view_flags, *shutter_flags, *modality_flags, *display.flags, *spacing_flags, *ratio_flags)
        flags += find_low_range(pixels, valid)
        return Radiograph(
            pixels=pixels,
            valid=valid,
            view=view,
            sex=header_metadata.read_sex(header),
            age=header_metadata.read_age_years(header),
            spacing_mm=spacing,
            spacing_kind=spacing_kind,
            polarity_inverted=display.inverted,
            flags=tuple(dict.fromkeys((*flags, *(["syntax_guessed"] * parsed.guessed_syntax)))),
            pixel_sha256=digest,
            syntax=parsed.syntax,
            identity=header_metadata.read_identifiers(header),
            stored_rows=layout.rows,
            stored_cols=layout.cols,
        )


def mask_padding_and_shutter(
    levels: GreyLevels, stored: NDArray[np.int32], header: Header, layout: PixelLayout
) -> tuple[str, ...]:
    """Exclude padding and what lies behind a shutter from `levels`; return flags."""
    shutter, flags = compute_shutter_mask(header, (layout.rows, layout.cols))
    for valid in (compute_unpadded_mask(levels, stored, header, layout), shutter):
        if valid is not None:
            levels.mask(valid)
    return flags


def render_display_image(levels: GreyLevels, values: NDArray[np.float32], header: Header, signed: bool) -> DisplayImage:
    """Apply values of interest, polarity and orientation, in this order.

    Args:
        levels: the picture.
        values: float32 [levels], their modality values.
        header: of the file.
        signed: whether stored values are signed.

    Raises:
        Rejected: `constant`.
    """
    bright, flags = apply_voi(levels, values, header, signed)
    inverted = is_polarity_inverted(header)
    if inverted:
        bright = invert_polarity(bright)
    darkest, brightest = levels.extremes(bright)
    # Also true for NaN, which is then both extremes.
    if not brightest - darkest > 1e-6:
        raise Rejected("constant", "the picture has no contrast")
    pixels, valid = levels.apply_table(bright), levels.valid
    if valid is None:
        valid = np.ones(pixels.shape, dtype=bool)
    else:
        np.copyto(pixels, 0, where=~valid)
    orient, turn_flags = find_reorientation(header)
    flags = (*flags, *turn_flags, *find_polarity_conflict(header))
    return DisplayImage(np.ascontiguousarray(orient(pixels)), np.ascontiguousarray(orient(valid)), inverted, flags)


def resample_to_square_pixels(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], ratio: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Resample to square pixels of the finer of the two spacings.

    Args:
        pixels: float32 [rows, cols].
        valid: bool [rows, cols].
        ratio: height over width of one pixel.

    Returns:
        Pixels and validity on the new grid.
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
