"""Grids that masks of an image may have, and resampling from them to the grid of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medprior.dicom import Radiograph
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.display.resample import resize_pixels
from medprior.dicom.radiograph import find_orientation_flag
from medprior.errors import MedpriorError
from medprior.ingest.masks import apply_orientation, has_same_aspect

if TYPE_CHECKING:
    from medprior.cohort import Cohort

Mask = NDArray[np.bool_]
Shape = tuple[int, int]


@dataclass(frozen=True)
class PictureGrids:
    """The grid of an image, and its grids in other tools.

    Attributes:
        shape: rows and columns of the image.
        sources: (rows and columns, orientation flag) of accepted grids, in order of preference;
            the flag is '', `orientation_mirrored` or `orientation_rotated`.
    """

    shape: Shape
    sources: tuple[tuple[Shape, str], ...]

    @classmethod
    def from_file(cls, radiograph: Radiograph) -> PictureGrids:
        """Grids of a radiograph from a file; other tools use its stored pixels."""
        native = NativeGrid.from_radiograph(radiograph)
        return cls(native.display_shape, ((native.stored_shape, native.turn), (native.display_shape, "")))

    @classmethod
    def from_cohort_image(cls, cohort: Cohort, image_id: str) -> PictureGrids:
        """Grids of an image of a cohort; other tools use it as it is, or at the size of its source."""
        pixels = cohort.pixels(image_id)
        shape = (pixels.shape[0], pixels.shape[1])
        row = cohort.select([image_id]).manifest.iloc[0]
        flag = find_orientation_flag(tuple(str(row["flags"]).split("|")))
        return cls(shape, ((shape, ""), ((int(row["rows"]), int(row["cols"])), flag)))

    @property
    def default_shape(self) -> Shape:
        """The size that masks usually have."""
        return self.sources[0][0]

    def to_picture_grid(self, name: str, mask: Mask, is_upright: bool = False) -> Mask:
        """A mask on the grid of the image.

        Args:
            name: the structure, for the error.
            mask: bool [rows, cols] on one of `sources`.
            is_upright: whether the mask already has display orientation.

        Raises:
            MedpriorError: the mask has a different size.
        """
        shape = (mask.shape[0], mask.shape[1])
        flags = [flag for size, flag in self.sources if size == shape]
        if not flags:
            raise MedpriorError(
                "the mask has another size than the picture",
                where=name,
                expected=format_size(self.default_shape),
                found=format_size(shape),
                fix=suggest_size_fix(shape, self.default_shape),
            )
        upright = mask if is_upright else apply_orientation(mask, flags[0])
        if shape == self.shape:
            return upright
        return resize_pixels(upright.astype(np.float32), *self.shape) >= 0.5


def format_size(shape: Shape) -> str:
    """A size as text."""
    return f"{shape[0]} rows x {shape[1]} columns"


def suggest_size_fix(actual: Shape, expected: Shape) -> str:
    """The next step for a mask of a different size."""
    if actual == expected[::-1]:
        return "rows and columns are exchanged: turn the mask by a quarter, or transpose the array"
    if has_same_aspect(actual, expected):
        return "the proportions are right: export the mask at the picture's own size"
    return "export the mask at the picture's own size, uncropped"
