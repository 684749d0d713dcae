"""The modality stage: stored values to the manufacturer's meaning, by table or by line."""

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
    """The modality value of every level, by the modality LUT or the rescale line, never both.

    Args:
        levels: the picture.
        stored: int32 [levels], their stored values.
        header: of the file.
        signed: whether stored values are.

    Raises:
        Rejected: `rescale`, slope or intercept are unusable.
    """
    flags: list[str] = []
    items = header.items(0x00283000)
    edges = levels.extremes(stored)
    lined = 0x00281052 in header or 0x00281053 in header
    if items:
        table = read_lut(items[0], signed, edges)
        flags += ["modality_lut_and_rescale"] if lined else []
        if table is not None:
            return table(stored.astype(np.float32)), tuple(flags)
        flags.append("modality_lut_unusable")
    slope, intercept = (read_rescale_value(header, tag, d) for tag, d in ((0x00281053, 1.0), (0x00281052, 0.0)))
    extremes = [slope * edge + intercept for edge in edges]
    if slope == 0 or not all(math.isfinite(x) and abs(x) < MAX_MODALITY_VALUE for x in (slope, *extremes)):
        raise Rejected("rescale", "rescale slope or intercept are unusable")
    return (stored * np.float64(slope) + np.float64(intercept)).astype(np.float32), tuple(flags)


def read_rescale_value(header: Header, tag: int, default: float) -> float:
    """Slope or intercept; `default` where absent or empty, NaN where unusable."""
    values = header.decimals(tag)
    if not values:
        return default
    return values[0]
