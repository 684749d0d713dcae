"""The values-of-interest stage: converts modality values to brightness in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.display.levels import GreyLevels
from medprior.dicom.display.lut import LookupTable, read_lut
from medprior.dicom.header import Header
from medprior.errors import Rejected

Values = NDArray[np.float32]
VoiFunction = Callable[[Values], Values]


def apply_voi(levels: GreyLevels, values: Values, header: Header, signed: bool) -> tuple[Values, tuple[str, ...]]:
    """Compute the brightness of every level by the first VOI LUT, the first window or the full range.

    LUT and windows are alternatives, never applied in series. One that is unusable, or maps the
    whole picture to one brightness, is skipped with a flag.

    Args:
        levels: the picture; its valid cells define the full range.
        values: float32 [levels], their modality values.
        header: of the file.
        signed: whether stored values are signed.

    Raises:
        Rejected: `constant`, the picture has one value only.
    """
    low, high = levels.extremes(values)
    if low > high:
        raise Rejected("constant", "all pixels are padding")
    if low == high:
        raise Rejected("constant", "all pixels have the same value")
    flags: list[str] = []
    for name, choice in (
        ("voi_lut_unusable", read_voi_table(header, signed, (low, high))),
        ("window_unusable", read_voi_window(header)),
    ):
        if choice is None:
            continue
        result = choice(values) if callable(choice) else None
        if result is not None:
            darkest, brightest = levels.extremes(result)
            if brightest - darkest > 1e-6:
                return result, tuple(flags)
        flags.append(name)
    scaled = values - np.float32(low)
    scaled /= np.float32(high - low)
    return np.clip(scaled, 0, 1, out=scaled), tuple(flags)


def read_voi_table(header: Header, signed: bool, inputs: tuple[float, float]) -> VoiFunction | bool | None:
    """Read the first VOI LUT; False where it is unusable, None where there is none."""
    items = header.items(0x00283010)
    if not items:
        return None
    table = read_lut(items[0], signed, inputs)
    if table is None:
        return False

    def look_up(values: Values) -> Values:
        """Look up values in the table and scale the result to [0, 1]."""
        result = table(values)
        result /= np.float32(compute_white_level(table))
        return result

    return look_up


def compute_white_level(table: LookupTable) -> float:
    """The entry of full brightness: by the stated bits, or the largest if it is under half of that."""
    top = float(2**table.bits - 1)
    largest = float(table.entries.max())
    return largest if largest > top or 0 < largest < top / 2 else top


def read_voi_window(header: Header) -> VoiFunction | bool | None:
    """Read the first window; False where it is unusable, None where there is none."""
    if 0x00281050 not in header and 0x00281051 not in header:
        return None
    centre = next(iter(header.decimals(0x00281050)), math.nan)
    width = next(iter(header.decimals(0x00281051)), math.nan)
    kind = header.text(0x00281056) or "LINEAR"
    usable = math.isfinite(centre) and math.isfinite(width) and width > 0
    if not usable or (kind == "LINEAR" and width < 1) or abs(centre) + width > 1e12:
        return False
    return build_window_function(kind, centre, width)


def build_window_function(kind: str, centre: float, width: float) -> VoiFunction:
    """Build the function LINEAR, LINEAR_EXACT or SIGMOID of PS3.3 C.11.2.1.2 and C.11.2.1.3, in [0, 1].

    An unknown name is treated as LINEAR, the default of the standard.
    """

    def sigmoid(values: Values) -> Values:
        """The SIGMOID function."""
        result = np.float32(centre) - values
        result *= np.float32(4 / width)
        np.clip(result, -80, 80, out=result)
        np.exp(result, out=result)
        result += 1
        np.reciprocal(result, out=result)
        return result

    def linear(values: Values) -> Values:
        """The LINEAR or LINEAR_EXACT function."""
        if kind != "LINEAR_EXACT" and width == 1:
            return (values > centre - 0.5).astype(np.float32)
        middle, span = (centre, width) if kind == "LINEAR_EXACT" else (centre - 0.5, width - 1)
        scaled = values - np.float32(middle)
        scaled /= np.float32(span)
        scaled += np.float32(0.5)
        return np.clip(scaled, 0, 1, out=scaled)

    return sigmoid if kind == "SIGMOID" else linear
