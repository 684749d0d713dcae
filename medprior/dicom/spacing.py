"""Pixel spacing with its kind: a number without its kind is never handed on."""

from __future__ import annotations

import math

from medprior.dicom.header import Header

Pair = tuple[float, float]
MAX_PIXEL_ASPECT = 4.0


def read_spacing_pair(header: Header, tag: int) -> Pair | None:
    """Two positive finite numbers, or None."""
    values = header.decimals(tag)
    if len(values) == 2 and all(math.isfinite(x) and 0 < x < 100 for x in values):
        return values[0], values[1]
    return None


def is_same_spacing(one: Pair, other: Pair) -> bool:
    """Whether two spacings are the same but for rounding."""
    return all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(one, other, strict=True))


def read_pixel_spacing(header: Header) -> tuple[Pair | None, str, tuple[str, ...]]:
    """Row and column spacing in mm, its kind, and flags.

    Calibrated (by fiducial or geometry, or differing from the detector's) before estimated
    (detector over magnification) before detector before film.
    """
    tags = (0x00280030, 0x00181164, 0x00182010)
    pixel, imager, film = (read_spacing_pair(header, tag) for tag in tags)
    bad = any(header.raw(tag) and read_spacing_pair(header, tag) is None for tag in tags)
    flags = ("spacing_unusable",) if bad else ()
    magnification = next(iter(header.decimals(0x00181114)), math.nan)
    if pixel and header.text(0x00280A02) in {"GEOMETRY", "FIDUCIAL"}:
        return pixel, "calibrated", flags
    if pixel and imager and not is_same_spacing(pixel, imager):
        return pixel, "calibrated", flags
    detector = imager or pixel
    if imager and 1 <= magnification <= 3:
        return (imager[0] / magnification, imager[1] / magnification), "estimated", flags
    if detector:
        return detector, "detector", flags
    return film, "film" if film else "none", flags


def read_pixel_aspect(header: Header, millimetres: Pair | None) -> tuple[float, tuple[str, ...]]:
    """Height over width of one pixel: by spacing, else by PixelAspectRatio."""
    flags: tuple[str, ...] = ()
    if millimetres:
        ratio = millimetres[0] / millimetres[1]
    else:
        values = header.decimals(0x00280034)
        usable = len(values) == 2 and all(math.isfinite(x) and x > 0 for x in values)
        flags = ("aspect_unusable",) if values and not usable else ()
        ratio = values[0] / values[1] if usable else 1.0
    if not 1 / MAX_PIXEL_ASPECT <= ratio <= MAX_PIXEL_ASPECT:
        return 1.0, (*flags, "aspect_unusable")
    return (1.0 if abs(ratio - 1) < 0.005 else ratio), flags
