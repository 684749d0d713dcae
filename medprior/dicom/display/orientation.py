"""Orients a frontal picture: the patient's left on the picture's right, the feet below."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.radiograph import ORIENTATION_FLAGS

if TYPE_CHECKING:
    from medprior.dicom.header import Header

Turn = Callable[[NDArray[Any]], NDArray[Any]]
MIRRORED_FLAG, ROTATED_FLAG = ORIENTATION_FLAGS


def return_unchanged(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array itself."""
    return array


def find_reorientation(header: Header) -> tuple[Turn, tuple[str, ...]]:
    """Find the function that turns a picture to `L\\F`, from PatientOrientation, and its flags.

    Absent and lateral orientations leave the picture unchanged; unusual ones too, with a flag.
    FieldOfViewRotation and FieldOfViewHorizontalFlip were already applied when the pixels were
    stored, so they are ignored.
    """
    values = header.texts(0x00200020)
    if len(values) != 2 or not all(values):
        return return_unchanged, ("orientation_unusable",) if any(values) else ()
    row, column = values[0][0], values[1][0]
    if (row, column) == ("L", "F") or row in {"A", "P"}:
        return return_unchanged, ()
    if (row, column) == ("R", "F"):
        return np.fliplr, (MIRRORED_FLAG,)
    if (row, column) == ("R", "H"):
        return (lambda array: np.rot90(array, 2)), (ROTATED_FLAG,)
    return return_unchanged, ("orientation_unusual",)
