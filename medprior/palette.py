"""The one palette of anatomical structures, shared by every picture, figure and web page.

Okabe and Ito (2008), safe for colour-blind readers; which structure has which colour is our choice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

ORANGE, SKY_BLUE, GREEN, YELLOW = "#e69f00", "#56b4e9", "#009e73", "#f0e442"
DARK_BLUE, VERMILION, PINK, BLACK = "#0072b2", "#d55e00", "#cc79a7", "#000000"
STRUCTURE_COLOURS = {"right_lung": ORANGE, "left_lung": SKY_BLUE, "lungs": SKY_BLUE, "heart": PINK}
FURTHER_COLOURS = (YELLOW, GREEN, VERMILION, DARK_BLUE)
CSS_COLOURS = {
    "orange": ORANGE, "blue": SKY_BLUE, "green": GREEN, "yellow": YELLOW, "red": VERMILION, "pink": PINK,
}  # fmt: skip


def structure_colour(name: str, order: int) -> str:
    """Colour #rrggbb of a structure; `order` chooses among those of structures without their own."""
    return STRUCTURE_COLOURS.get(name, FURTHER_COLOURS[order % len(FURTHER_COLOURS)])


def structure_rgb(name: str, order: int) -> tuple[int, int, int]:
    """`structure_colour` as red, green and blue in [0, 255]."""
    red, green, blue = bytes.fromhex(structure_colour(name, order)[1:])
    return red, green, blue


def assign_colours(names: Iterable[str]) -> dict[str, str]:
    """Structure -> colour #rrggbb; structures without their own get the further colours by name."""
    known = {name: STRUCTURE_COLOURS[name] for name in sorted(names) if name in STRUCTURE_COLOURS}
    others = [name for name in sorted(names) if name not in STRUCTURE_COLOURS]
    return known | {name: structure_colour(name, order) for order, name in enumerate(others)}


def format_palette_css() -> str:
    """Style sheet with the palette as custom properties: `var(--orange)`."""
    return ":root {" + " ".join(f"--{name}: {value};" for name, value in CSS_COLOURS.items()) + "}\n"


def format_palette_script() -> str:
    """JavaScript module that exports `STRUCTURE_COLOURS` and `FURTHER_COLOURS`."""
    constants = {"STRUCTURE_COLOURS": STRUCTURE_COLOURS, "FURTHER_COLOURS": FURTHER_COLOURS}
    return "".join(f"export const {name} = {json.dumps(value)};\n" for name, value in constants.items())
