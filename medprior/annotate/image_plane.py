"""The image plane of a radiograph, which maps contours in millimetres to pixels."""

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
    """The plane of the stored pixels in space (DICOM PS3.3 C.7.6.2.1.1).

    Shape:
        origin: float64 [3], mm, the centre of the first pixel.
        axes: float64 [2, 3], unit vectors of increasing column and row index.

    Attributes:
        spacing: (between rows, between columns) in mm.
        in_patient: whether the file gives position and orientation; otherwise x runs along the
            columns and y along the rows, from the centre of the first pixel.
        frame: frame of reference UID, '' where the file has none.
    """

    origin: Array = field(repr=False)
    axes: Array = field(repr=False)
    spacing: tuple[float, float]
    in_patient: bool
    frame: str = field(default="", repr=False)

    @classmethod
    def from_file(cls, image: Path | None, where: str) -> ImagePlane:
        """The plane of a DICOM radiograph.

        Raises:
            MedpriorError: there is no DICOM file, or it has no pixel spacing.
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
        """The plane from a header, None without spacing.

        The spacing is PixelSpacing, else that of the detector or the film.
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
        has_position = position.shape == (3,) and axes.shape == (6,)
        if has_position and np.isfinite(position).all() and is_orthonormal(axes.reshape(2, 3)):
            return cls(position, axes.reshape(2, 3), spacing, True, frame)
        return cls(np.zeros(3), np.eye(3)[:2], spacing, False, frame)

    def to_pixels(self, points: Array) -> tuple[Array, Array]:
        """Pixel coordinates of points, and their distance from the plane in mm.

        Args:
            points: float64 [n, 3] in mm.

        Returns:
            float64 [n, 2] (x, y), with (0, 0) the corner of the image and (0.5, 0.5) the centre of
            the first pixel; float64 [n].
        """
        offsets = points - self.origin
        x, y = (offsets @ self.axes.T).T
        rows, cols = self.spacing
        distances = np.abs(offsets @ np.cross(*self.axes))
        return np.stack([x / cols + 0.5, y / rows + 0.5], axis=1), distances


def is_orthonormal(axes: Array) -> bool:
    """Whether two axes [2, 3] have length 1 and are perpendicular."""
    return bool(np.isfinite(axes).all() and np.allclose(axes @ axes.T, np.eye(2), atol=1e-3))


def create_plane_error(what: str, where: str) -> MedpriorError:
    """The error for an image whose plane is unknown."""
    return MedpriorError(
        what,
        where=where,
        expected="a DICOM radiograph with PixelSpacing or ImagerPixelSpacing for an RTSTRUCT",
        fix="give the radiograph's own DICOM file with --image, or export a DICOM SEG or a mask",
    )
