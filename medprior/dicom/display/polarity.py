"""Polarity: a picture is shown with air dark and bone bright, however its file stores it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.header import Header


def is_polarity_inverted(header: Header) -> bool:
    """Whether low values are bright in the file: its photometric interpretation is MONOCHROME1 (PS3.3 C.7.6.3.1.2)."""
    return header.text(0x00280004) == "MONOCHROME1"


def invert_polarity(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Exchange dark and bright: 1 - pixels, for float32 pixels in [0, 1] of any shape."""
    return np.float32(1) - pixels


def find_polarity_conflict(header: Header) -> tuple[str, ...]:
    """Flag `presentation_shape_conflict` where the presentation LUT shape contradicts the interpretation."""
    contrary = "IDENTITY" if is_polarity_inverted(header) else "INVERSE"
    return ("presentation_shape_conflict",) if header.text(0x20500020) == contrary else ()
