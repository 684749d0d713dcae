"""The grids a mask may be drawn on, and how it comes from there onto the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.dicom import Radiograph
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.display.resample import resize_pixels
from medprior.dicom.radiograph import find_turn_flag
from medprior.errors import MedpriorError
from medprior.ingest.masks import apply_orientation, has_same_aspect

Mask = NDArray[np.bool_]
Shape = tuple[int, int]


@dataclass(frozen=True)
class PictureGrids:
    """A picture's grid, and the grids of the same picture in other tools.

    Attributes:
        shown: rows and columns of the picture.
        sizes: (rows and columns, how the picture was turned since) in the order they are tried:
            '', `orientation_mirrored` or `orientation_rotated`.
    """

    shown: Shape
    sizes: tuple[tuple[Shape, str], ...]

    @classmethod
    def from_file(cls, radiograph: Radiograph) -> PictureGrids:
        """Of a radiograph read from a file: other tools draw on its stored pixels."""
        native = NativeGrid.from_radiograph(radiograph)
        return cls(native.display_shape, ((native.stored_shape, native.turn), (native.display_shape, "")))

    @classmethod
    def from_cohort_image(cls, cohort: Cohort, image_id: str) -> PictureGrids:
        """Of a cohort's image: other tools draw on it as it is, or at its source's size."""
        pixels = cohort.pixels(image_id)
        shown = (pixels.shape[0], pixels.shape[1])
        row = cohort.select([image_id]).manifest.iloc[0]
        turned = find_turn_flag(tuple(str(row["flags"]).split("|")))
        return cls(shown, ((shown, ""), ((int(row["rows"]), int(row["cols"])), turned)))

    @property
    def drawn(self) -> Shape:
        """The size most drawings have."""
        return self.sizes[0][0]

    def to_picture_grid(self, name: str, mask: Mask, turned: bool = False) -> Mask:
        """A mask on the picture's own grid.

        Args:
            name: the structure, for the error.
            mask: bool [rows, cols] on one of `sizes`.
            turned: it already is the way round that the picture is shown.

        Raises:
            MedpriorError: it has another size.
        """
        shape = (mask.shape[0], mask.shape[1])
        turns = [turn for size, turn in self.sizes if size == shape]
        if not turns:
            raise MedpriorError(
                "the mask has another size than the picture",
                where=name,
                expected=format_size(self.drawn),
                found=format_size(shape),
                fix=suggest_size_fix(shape, self.drawn),
            )
        upright = mask if turned else apply_orientation(mask, turns[0])
        if shape == self.shown:
            return upright
        return resize_pixels(upright.astype(np.float32), *self.shown) >= 0.5


def format_size(shape: Shape) -> str:
    """A size in words."""
    return f"{shape[0]} rows x {shape[1]} columns"


def suggest_size_fix(found: Shape, wanted: Shape) -> str:
    """What to do about a size that does not fit."""
    if found == wanted[::-1]:
        return "rows and columns are exchanged: turn the mask by a quarter, or transpose the array"
    if has_same_aspect(found, wanted):
        return "the proportions are right: export the mask at the picture's own size"
    return "export the mask at the picture's own size, uncropped"
