"""Request body of the drawing page: closed contours by structure."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medprior.annotate.naming import normalise_name
from medprior.annotate.polygons import fill_polygons, parse_ring
from medprior.errors import MedpriorError
from medprior.settings import Settings

Point = tuple[float, float]
Contour = Annotated[tuple[Point, ...], Field(min_length=1, max_length=5000)]
ShortText = Annotated[str, Field(max_length=200)]


class StructureContours(Settings):
    """Contours of one structure.

    Attributes:
        name: as entered by the user.
        contours: closed contours; (x, y) in pixels, (0, 0) is the upper left corner of the image.
    """

    name: ShortText
    contours: Annotated[tuple[Contour, ...], Field(max_length=50)]


class ContourDrawing(Settings):
    """Contours of one image.

    Attributes:
        picture: key of the image.
        structures: at most one entry per name.
        author: free text.
        is_further: whether it is one more example beside those saved before, instead of their replacement.
    """

    picture: ShortText
    structures: Annotated[tuple[StructureContours, ...], Field(max_length=50)]
    author: ShortText = ""
    is_further: bool = False

    def masks(self, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
        """Structure -> bool [rows, cols]; structures without a contour are left out.

        Raises:
            MedpriorError: a contour is invalid, or two structures have the same name.
        """
        masks: dict[str, NDArray[np.bool_]] = {}
        for structure in self.structures:
            if not structure.contours:
                continue
            name = normalise_name(structure.name)
            if name in masks:
                raise MedpriorError("two structures have one name", where=name)
            rings = [parse_ring(contour, name) for contour in structure.contours]
            masks[name] = fill_polygons(rings, shape)
        return masks
