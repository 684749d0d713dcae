"""Values of interest: the three DICOM transforms from stored signal to display, on [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class VoiTransform:
    """Values of interest of one image.

    Attributes:
        kind: DICOM's LINEAR and SIGMOID functions, or a table.
        centre, width: of the window, in parts of the signal's range.
    """

    kind: Literal["LINEAR", "SIGMOID", "TABLE"]
    centre: float
    width: float

    def apply(self, signal: Array) -> Array:
        """Display values in [0, 1] of signals in [0, 1], same shape (PS3.3 C.11.2.1)."""
        part = (signal - self.centre) / self.width
        if self.kind == "LINEAR":
            return np.asarray(np.clip(part + 0.5, 0, 1), np.float32)
        if self.kind == "SIGMOID":
            return np.asarray(1.0 / (1.0 + np.exp(-4.0 * part)), np.float32)
        # Our choice of table: straight in the middle, a toe and a shoulder like film.
        ramp = np.clip(part + 0.5, 0, 1)
        return np.asarray(0.5 * ramp + 0.5 * ramp * ramp * (3 - 2 * ramp), np.float32)


def sample_voi(kind: Literal["LINEAR", "SIGMOID", "TABLE"], rng: np.random.Generator) -> VoiTransform:
    """Sample a window around the processed signal, which lies between 0.2 and 0.8."""
    centre = 0.5 + 0.025 * float(np.clip(rng.standard_normal(), -2, 2))
    width = 0.64 * float(np.exp(0.07 * np.clip(rng.standard_normal(), -2, 2)))
    return VoiTransform(kind, centre, width)
