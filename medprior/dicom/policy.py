"""Settings that decide which files are usable radiographs, with safe defaults."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medprior.settings import Settings


class Policy(Settings):
    """Which files `read_radiograph` accepts. The defaults are safe; the cohort records them.

    Attributes:
        max_bytes: largest file that is opened, and largest inflated size of a deflated file.
        min_side: shortest side of a usable picture, in stored pixels.
        max_side: longest side.
        max_pixels: rows x columns.
        max_elements: data elements and items of a header, nested ones included.
        lateral: accept lateral views (labelled as lateral, never as frontal).
        for_processing: accept raw detector data, which is not display-ready.
        secondary_capture: which secondary captures pass: `film` only digitised films, `radiograph`
            also those of modality CR or DX that name no conversion, `any` also those that were
            converted otherwise (some public sets), if they are CR or DX.
        burned_in_unknown: accept secondary captures that do not say whether text is burned in; CR and DX
            that do not say so pass with a flag.
        other_body_parts: accept files that name a body part other than the chest.
        detect_text: look for text in the pixels too, with `pip install 'medprior[text]'`; it gives a flag.
    """

    max_bytes: int = Field(default=2**30, gt=0)
    min_side: int = Field(default=64, ge=1)
    max_side: int = Field(default=16384, ge=1)
    max_pixels: int = Field(default=200_000_000, ge=1)
    max_elements: int = Field(default=100_000, ge=1)
    lateral: bool = True
    for_processing: bool = False
    secondary_capture: Literal["film", "radiograph", "any"] = "radiograph"
    burned_in_unknown: bool = True
    other_body_parts: bool = False
    detect_text: bool = False

    def accepts_shape(self, rows: int, cols: int) -> bool:
        """Whether sides and number of pixels of a picture are within the limits."""
        shortest, longest = sorted((rows, cols))
        return self.min_side <= shortest and longest <= self.max_side and rows * cols <= self.max_pixels
