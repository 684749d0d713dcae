"""Five fictional vendors that together cover the common ways to store a chest radiograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

EXPLICIT_VR = "1.2.840.10008.1.2.1"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
CR_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.1"
DX_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.1.1"


@dataclass(frozen=True)
class Vendor:
    """How one vendor stores its images.

    Attributes:
        name, model: fictional.
        sop_class: CR or DX for presentation.
        bits: stored bits.
        inverted: MONOCHROME1.
        voi: window function or table.
        slope, intercept: modality rescale, None where the file has none.
        padding: pixel padding value painted outside the collimated field, or None.
        syntax: transfer syntax UID.
        aspect: columns over rows.
    """

    name: str
    model: str
    sop_class: str
    bits: int
    inverted: bool
    voi: Literal["LINEAR", "SIGMOID", "TABLE"]
    slope: float | None
    intercept: float | None
    padding: int | None
    syntax: str
    aspect: float = 1.0

    @property
    def max_stored_value(self) -> int:
        """Largest stored value."""
        return (1 << self.bits) - 1

    @property
    def modality(self) -> str:
        """CR or DX."""
        return "DX" if self.sop_class == DX_SOP_CLASS else "CR"


VENDORS = (
    Vendor("Aurora Imaging", "Daybreak 2", DX_SOP_CLASS, 12, False, "LINEAR", None, None, None, JPEG_LS),
    Vendor("Borealis Medical", "Polar CR", CR_SOP_CLASS, 12, True, "SIGMOID", None, None, 0, RLE),
    Vendor("Cirrus Radiography", "High C", DX_SOP_CLASS, 14, True, "TABLE", None, None, None, JPEG_2000),
    Vendor("Dovetail Health", "Plate", CR_SOP_CLASS, 16, False, "LINEAR", 0.5, -1024.0, None, EXPLICIT_VR, 0.9),
    Vendor("Ember Systems", "Glow DR", DX_SOP_CLASS, 14, False, "LINEAR", 1.0, 0.0, 0, JPEG_LOSSLESS),
)  # fmt: skip


def sample_vendor(rng: np.random.Generator) -> Vendor:
    """Sample a vendor; all are equally likely."""
    return VENDORS[int(rng.integers(len(VENDORS)))]
