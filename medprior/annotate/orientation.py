"""Which axis of a volume is the picture's columns and which its rows, and which way they run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.errors import MedpriorError

MIN_AXIS_COSINE = 0.95
X, Y, Z = 0, 1, 2
ORIENTATION_HINT = "look at preview.png, and use --as-stored if it is the wrong way round"


@dataclass(frozen=True)
class OrientedSlice:
    """One slice as a picture.

    Shape:
        levels: [rows, cols].

    Attributes:
        turned: the slice is the way round that radiographs are shown, by the patient's own axes.
        warnings: what to look at.
    """

    levels: NDArray[Any] = field(repr=False)
    turned: bool = False
    warnings: tuple[str, ...] = ()


def orient_slice(
    layer: NDArray[Any], directions: NDArray[np.float64] | None, as_stored: bool, where: str
) -> OrientedSlice:
    """The one slice of a volume the way its directions say.

    ITK and 3D Slicer give a picture without directions those of a transverse slice: columns to the
    patient's left (x), rows to the back (y). Along these the slice is on the picture's stored
    pixels. Where rows run along the body (z), the patient's axes are meant: the left is put on the
    right and the feet below.

    Args:
        layer: [i, j] or [i, j, k ...] with two axes longer than one.
        directions: columns are the axes' directions in LPS; None where they mean nothing.
        as_stored: take the first axis as columns and the second as rows, whatever the directions.
        where: the argument, for errors.

    Raises:
        MedpriorError: not one slice.
    """
    axes = [axis for axis, side in enumerate(layer.shape) if side > 1]
    if len(axes) != 2:
        raise MedpriorError(
            "not one slice",
            where=where,
            expected="a picture, or a volume of one slice",
            found=" x ".join(str(side) for side in layer.shape),
            fix="export the mask of the radiograph itself",
        )
    stored = np.squeeze(layer, tuple(set(range(layer.ndim)) - set(axes))).T
    if directions is None or as_stored:
        return OrientedSlice(stored)
    named = [find_patient_axis(directions, axis) for axis in axes]
    lying = tuple(axis for axis, _ in named)
    if set(lying) not in ({X, Y}, {X, Z}):
        words = "the file's directions are not those of a frontal picture and were not used"
        return OrientedSlice(stored, warnings=(f"{words}; {ORIENTATION_HINT}",))
    upright = stored if lying[0] == X else stored.T
    (_, column), (row_axis, row) = named if lying[0] == X else named[::-1]
    flipped = column < 0, row < 0 if row_axis == Y else row > 0
    if flipped[0]:
        upright = upright[:, ::-1]
    if flipped[1]:
        upright = upright[::-1]
    warnings: tuple[str, ...] = ()
    if any(flipped):
        ways = " and ".join(np.array(["mirrored", "turned upside down"])[list(flipped)])
        warnings = (f"the file's directions had the drawing {ways}; {ORIENTATION_HINT}",)
    return OrientedSlice(np.ascontiguousarray(upright), row_axis == Z, warnings)


def find_patient_axis(directions: NDArray[np.float64], axis: int) -> tuple[int, float]:
    """The patient's axis that an index axis runs along, and its sign; -1 where it is oblique."""
    if axis >= len(directions):
        return -1, 1.0
    way = directions[:, axis]
    main = int(np.abs(way).argmax())
    return (main if abs(way[main]) >= MIN_AXIS_COSINE else -1), float(np.sign(way[main]))
