"""What the page sends: closed contours by structure."""

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
    """One structure.

    Attributes:
        name: as the user writes it.
        contours: its parts; (x, y) in pixels of the picture, (0, 0) its upper left corner.
    """

    name: ShortText
    contours: Annotated[tuple[Contour, ...], Field(max_length=50)]


class ContourDrawing(Settings):
    """A drawing to be kept.

    Attributes:
        picture: key of the picture that it was drawn on.
        structures: at most one entry per name.
        author: free text.
    """

    picture: ShortText
    structures: Annotated[tuple[StructureContours, ...], Field(max_length=50)]
    author: ShortText = ""

    def masks(self, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
        """Structure -> bool [rows, cols]; structures without a contour are left out.

        Raises:
            MedpriorError: a contour has no area, or two structures have one name.
        """
        found: dict[str, NDArray[np.bool_]] = {}
        for structure in self.structures:
            if not structure.contours:
                continue
            name = normalise_name(structure.name)
            if name in found:
                raise MedpriorError("two structures have one name", where=name)
            rings = [parse_ring(contour, name) for contour in structure.contours]
            found[name] = fill_polygons(rings, shape)
        return found
