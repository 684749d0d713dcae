"""The modality stage: converts stored values to modality values by a LUT or a linear rescale."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.display.levels import GreyLevels
from medprior.dicom.display.lut import read_lut
from medprior.dicom.header import Header
from medprior.errors import Rejected

MAX_MODALITY_VALUE = 1e12


def compute_modality_values(
    levels: GreyLevels, stored: NDArray[np.int32], header: Header, signed: bool
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Compute the modality value of every level by the modality LUT or the linear rescale, never both.

    Args:
        levels: the picture.
        stored: int32 [levels], their stored values.
        header: of the file.
        signed: whether stored values are signed.

    Raises:
        Rejected: `rescale`, slope or intercept are unusable.
    """
    flags: list[str] = []
    items = header.items(0x00283000)
    stored_range = levels.extremes(stored)
    has_rescale = 0x00281052 in header or 0x00281053 in header
    if items:
        table = read_lut(items[0], signed, stored_range)
        flags += ["modality_lut_and_rescale"] if has_rescale else []
        if table is not None:
            return table(stored.astype(np.float32)), tuple(flags)
        flags.append("modality_lut_unusable")
    slope, intercept = (
        read_rescale_value(header, tag, default) for tag, default in ((0x00281053, 1.0), (0x00281052, 0.0))
    )
    extremes = [slope * edge + intercept for edge in stored_range]
    if slope == 0 or not all(math.isfinite(x) and abs(x) < MAX_MODALITY_VALUE for x in (slope, *extremes)):
        raise Rejected("rescale", "rescale slope or intercept are unusable")
    return (stored * np.float64(slope) + np.float64(intercept)).astype(np.float32), tuple(flags)


def read_rescale_value(header: Header, tag: int, default: float) -> float:
    """Read slope or intercept; `default` where absent or empty, NaN where unusable."""
    return next(iter(header.decimals(tag)), default)
