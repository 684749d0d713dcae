"""Reads the pixel spacing together with its kind, and the pixel aspect ratio."""

from __future__ import annotations

import math

from medprior.dicom.header import Header

Pair = tuple[float, float]
MAX_PIXEL_ASPECT = 4.0


def read_spacing_pair(header: Header, tag: int) -> Pair | None:
    """Read two positive finite numbers below 100 mm, or None."""
    values = header.decimals(tag)
    if len(values) == 2 and all(math.isfinite(x) and 0 < x < 100 for x in values):
        return values[0], values[1]
    return None


def is_same_spacing(first: Pair, second: Pair) -> bool:
    """Whether two spacings are equal up to rounding."""
    return all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(first, second, strict=True))


def read_pixel_spacing(header: Header) -> tuple[Pair | None, str, tuple[str, ...]]:
    """Read row and column spacing in mm, its kind, and flags.

    Preferred in this order: calibrated (by fiducial or geometry, or differing from the spacing of
    the detector), estimated (detector spacing over magnification), detector, film.
    """
    tags = (0x00280030, 0x00181164, 0x00182010)
    pixel, imager, film = (read_spacing_pair(header, tag) for tag in tags)
    any_unusable = any(header.raw(tag) and read_spacing_pair(header, tag) is None for tag in tags)
    flags = ("spacing_unusable",) if any_unusable else ()
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


def read_pixel_aspect(header: Header, spacing: Pair | None) -> tuple[float, tuple[str, ...]]:
    """Read height over width of one pixel, from the spacing in mm or else PixelAspectRatio; flags."""
    flags: tuple[str, ...] = ()
    if spacing:
        ratio = spacing[0] / spacing[1]
    else:
        values = header.decimals(0x00280034)
        usable = len(values) == 2 and all(math.isfinite(x) and x > 0 for x in values)
        flags = ("aspect_unusable",) if values and not usable else ()
        ratio = values[0] / values[1] if usable else 1.0
    if not 1 / MAX_PIXEL_ASPECT <= ratio <= MAX_PIXEL_ASPECT:
        return 1.0, (*flags, "aspect_unusable")
    return (1.0 if abs(ratio - 1) < 0.005 else ratio), flags
