"""R and L on frontal radiographs: the patient's right is on the picture's left."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageDraw, ImageFont

MARKER_SHARE = 1 / 16  # height of a letter over the picture's shorter side (our choice)
MIN_MARKER_PX = 9
MARKER_X, MARKER_Y = 0.05, 0.06  # centre of a letter from the picture's edges, as shares of its sides


def draw_side_markers(image: Image.Image) -> None:
    """Draw R at the upper left and L at the upper right of an upright frontal radiograph, in place."""
    places = (MARKER_X * image.width, MARKER_Y * image.height), ((1 - MARKER_X) * image.width, MARKER_Y * image.height)
    for letter, place in zip("RL", places, strict=True):
        draw_side_marker(image, letter, place)


def draw_side_marker(image: Image.Image, letter: str, place: tuple[float, float]) -> None:
    """Draw one white letter with a black rim, centred at `place` (x, y) but within the picture."""
    size = max(MIN_MARKER_PX, round(min(image.size) * MARKER_SHARE))
    x, y = (min(max(at, 0.6 * size), side - 0.6 * size) for at, side in zip(place, image.size, strict=True))
    white, black = ("white", "black") if image.mode == "RGB" else (255, 0)
    ImageDraw.Draw(image).text(
        (x, y), letter, white, ImageFont.load_default(size), anchor="mm", stroke_width=max(1, size // 12),
        stroke_fill=black,
    )  # fmt: skip


def plot_side_markers(axes: Any, size: float = 9) -> None:
    """Plot R at the upper left and L at the upper right of matplotlib axes that show a frontal radiograph.

    Args:
        axes: with the radiograph upright.
        size: of the letters in points.
    """
    for letter, x in (("R", MARKER_X), ("L", 1 - MARKER_X)):
        axes.text(
            x, 1 - MARKER_Y, letter, color="white", fontsize=size, fontweight="bold", ha="center", va="center",
            transform=axes.transAxes, bbox={"facecolor": "black", "edgecolor": "none", "pad": 0.6, "alpha": 0.5},
        )  # fmt: skip
