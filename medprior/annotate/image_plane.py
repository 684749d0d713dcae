"""Where a radiograph's pixels lie, for contours that are given in millimetres."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprior.dicom import Policy
from medprior.dicom.file_opening import detect_file_type, open_regular_file
from medprior.dicom.header import Header
from medprior.dicom.parsing import convert_parser_errors, parse_header
from medprior.dicom.spacing import read_spacing_pair
from medprior.errors import MedpriorError

Array = NDArray[np.float64]
PIXEL_SPACING, IMAGER_SPACING, FILM_SPACING = 0x00280030, 0x00181164, 0x00182010
POSITION, ORIENTATION, FRAME_OF_REFERENCE = 0x00200032, 0x00200037, 0x00200052


@dataclass(frozen=True)
class ImagePlane:
    """A plane of stored pixels in space (PS3.3 C.7.6.2.1.1).

    Shape:
        origin: float64 [3], mm, the centre of the first pixel.
        axes: float64 [2, 3], unit vectors along which columns and rows are counted.

    Attributes:
        spacing: (between rows, between columns) in mm.
        in_patient: whether the file gives position and orientation; else the plane is the
            picture's own: x along its columns, y along its rows, from its first pixel's centre.
        frame: frame of reference UID, '' where the file has none.
    """

    origin: Array = field(repr=False)
    axes: Array = field(repr=False)
    spacing: tuple[float, float]
    in_patient: bool
    frame: str = field(default="", repr=False)

    @classmethod
    def from_file(cls, image: Path | None, where: str) -> ImagePlane:
        """Of a radiograph's DICOM file.

        Raises:
            MedpriorError: there is no such file, or it gives no millimetres per pixel.
        """
        if image is None:
            raise create_plane_error("a cohort does not keep where its pictures lie", where)
        with open_regular_file(image, Policy()) as (stream, size):
            if detect_file_type(stream.read(512)) not in {"dicom", "bare_dicom"}:
                raise create_plane_error("the radiograph is no DICOM file: nothing says where it lies", where)
            stream.seek(0)
            header = parse_header(stream, size, Policy()).header
            with convert_parser_errors():
                plane = cls.from_header(header)
        if plane is None:
            raise create_plane_error("the radiograph's file gives no millimetres per pixel", where)
        return plane

    @classmethod
    def from_header(cls, header: Header) -> ImagePlane | None:
        """Of a radiograph's header; the spacing is PixelSpacing, else the detector's or film's.

        None where there is no spacing.
        """
        spacing = next(
            (p for p in (read_spacing_pair(header, t) for t in (PIXEL_SPACING, IMAGER_SPACING, FILM_SPACING)) if p),
            None,
        )
        if spacing is None:
            return None
        position = np.array(header.decimals(POSITION))
        axes = np.array(header.decimals(ORIENTATION))
        frame = header.text(FRAME_OF_REFERENCE)
        placed = position.shape == (3,) and axes.shape == (6,)
        if placed and np.isfinite(position).all() and is_orthonormal(axes.reshape(2, 3)):
            return cls(position, axes.reshape(2, 3), spacing, True, frame)
        return cls(np.zeros(3), np.eye(3)[:2], spacing, False, frame)

    def to_pixels(self, points: Array) -> tuple[Array, Array]:
        """Places on the stored pixels, and how far from their plane, in mm.

        Args:
            points: float64 [n, 3] in mm.

        Returns:
            float64 [n, 2] (x, y), (0, 0) being the picture's corner and (0.5, 0.5) the first
            pixel's centre; float64 [n].
        """
        away = points - self.origin
        x, y = (away @ self.axes.T).T
        rows, cols = self.spacing
        off = np.abs(away @ np.cross(*self.axes))
        return np.stack([x / cols + 0.5, y / rows + 0.5], axis=1), off


def is_orthonormal(axes: Array) -> bool:
    """Whether two axes [2, 3] are of length 1 and at right angles."""
    return bool(np.isfinite(axes).all() and np.allclose(axes @ axes.T, np.eye(2), atol=1e-3))


def create_plane_error(what: str, where: str) -> MedpriorError:
    """The error for a picture whose place is unknown."""
    return MedpriorError(
        what,
        where=where,
        expected="a DICOM radiograph with PixelSpacing or ImagerPixelSpacing for an RTSTRUCT",
        fix="give the radiograph's own DICOM file with --image, or export a DICOM SEG or a mask",
    )
