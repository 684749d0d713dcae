"""Orient the single slice of a volume as an image, from the directions of its axes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.errors import MedpriorError

MIN_AXIS_COSINE = 0.95
X, Y, Z = 0, 1, 2
ORIENTATION_HINT = "look at preview.png, and use --as-stored if its orientation is wrong"


@dataclass(frozen=True)
class OrientedSlice:
    """One slice as an image.

    Shape:
        levels: [rows, cols].

    Attributes:
        is_upright: whether the slice has display orientation, from the patient's axes.
        warnings: about the orientation.
    """

    levels: NDArray[Any] = field(repr=False)
    is_upright: bool = False
    warnings: tuple[str, ...] = ()


def orient_slice(
    layer: NDArray[Any], directions: NDArray[np.float64] | None, as_stored: bool, where: str
) -> OrientedSlice:
    """The single slice of a volume, oriented by its directions.

    ITK and 3D Slicer give an image without directions those of a transverse slice: columns to the
    patient's left (x), rows to the back (y). Such a slice lies on the stored pixels of the image.
    Where rows run along the body (z), the slice is oriented by the patient's axes: left on the
    right of the image, feet at the bottom.

    Args:
        layer: [i, j] or [i, j, k ...] with two axes longer than one.
        directions: columns are the directions of the axes in LPS; None where unknown.
        as_stored: use the first axis as columns and the second as rows, ignoring directions.
        where: name of the argument, for errors.

    Raises:
        MedpriorError: the volume is not one slice.
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
    patient_axes = [find_patient_axis(directions, axis) for axis in axes]
    body_axes = tuple(axis for axis, _ in patient_axes)
    if set(body_axes) not in ({X, Y}, {X, Z}):
        message = "the file's directions are not those of a frontal picture and were not used"
        return OrientedSlice(stored, warnings=(f"{message}; {ORIENTATION_HINT}",))
    upright = stored if body_axes[0] == X else stored.T
    (_, column_sign), (row_axis, row_sign) = patient_axes if body_axes[0] == X else patient_axes[::-1]
    flips = column_sign < 0, row_sign < 0 if row_axis == Y else row_sign > 0
    if flips[0]:
        upright = upright[:, ::-1]
    if flips[1]:
        upright = upright[::-1]
    warnings: tuple[str, ...] = ()
    if any(flips):
        changes = " and ".join(np.array(["mirrored", "turned upside down"])[list(flips)])
        warnings = (f"the file's directions had the drawing {changes}; {ORIENTATION_HINT}",)
    return OrientedSlice(np.ascontiguousarray(upright), row_axis == Z, warnings)


def find_patient_axis(directions: NDArray[np.float64], axis: int) -> tuple[int, float]:
    """The patient axis parallel to an index axis, and its sign; axis -1 where it is oblique."""
    if axis >= len(directions):
        return -1, 1.0
    direction = directions[:, axis]
    main = int(np.abs(direction).argmax())
    return (main if abs(direction[main]) >= MIN_AXIS_COSINE else -1), float(np.sign(direction[main]))
