"""Pictures of one reading: contours, measuring lines and attention over the radiograph, as PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from medprior.deploy.cardiothoracic import Cardiothoracic

if TYPE_CHECKING:
    from medprior.deploy.reading import Reading

Pixels = NDArray[np.float32]
Picture = NDArray[np.float64]
COLOURS = {
    "right_lung": (76, 155, 232),
    "left_lung": (62, 201, 167),
    "lungs": (76, 155, 232),
    "heart": (242, 100, 75),
}
OTHERS = ((240, 196, 60), (183, 121, 232), (240, 130, 190), (150, 210, 90))
SIDE = 640  # longest side of a panel
EVEN = 4.0  # attention in units of its mean that gets full colour at the earliest


def colour(name: str, order: int) -> tuple[int, int, int]:
    """The colour of a structure; the same structure has the same colour everywhere."""
    return COLOURS.get(name, OTHERS[order % len(OTHERS)])


def overlay(reading: Reading) -> Image.Image:
    """Panels side by side: contours with the measuring lines, then attention by structure or head.

    Returns:
        RGB image, each panel at most 640 pixels on its longest side, with a caption.
    """
    grey = shrunk(reading.pixels)
    panels = [caption(contours(grey, reading.masks, reading.cardiothoracic), title(reading))]
    for order, (name, attention) in enumerate(reading.attention.items()):
        panel = heat(grey, attention, colour(name, order))
        panels.append(caption(panel, f"attention: {name.replace('_', ' ')}"))
    height = max(panel.height for panel in panels)
    sheet = Image.new("RGB", (sum(panel.width + 6 for panel in panels) - 6, height), (20, 20, 24))
    x = 0
    for panel in panels:
        sheet.paste(panel, (x, 0))
        x += panel.width + 6
    return sheet


def title(reading: Reading) -> str:
    """Caption of the first panel."""
    if reading.cardiothoracic is None:
        return "radiograph"
    return f"cardiothoracic ratio {reading.cardiothoracic.ratio:.2f}"


def shrunk(pixels: Pixels) -> Pixels:
    """The radiograph at panel size, area averaged; float32 in [0, 1]."""
    image = Image.fromarray(np.asarray(pixels, dtype=np.float32))
    scale = min(1.0, SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.BOX, reducing_gap=None))


def contours(
    grey: Pixels, masks: Mapping[str, NDArray[np.bool_]], ratio: Cardiothoracic | None
) -> Image.Image:
    """Outlines of the masks over the radiograph, and the two measured diameters."""
    rgb = as_rgb(grey)
    scale = 1.0
    for order, (name, mask) in enumerate(masks.items()):
        scale = grey.shape[0] / mask.shape[0]
        small = np.asarray(
            Image.fromarray(mask).resize(grey.shape[::-1], Image.Resampling.NEAREST), dtype=bool
        )
        edge = small & ~ndimage.binary_erosion(small, iterations=2, border_value=1)
        rgb[edge] = colour(name, order)
    image = Image.fromarray(rgb.round().astype(np.uint8))
    if ratio is not None:
        draw = ImageDraw.Draw(image)
        x0, x1, y = (value * scale for value in ratio.thorax)
        draw.line([(x0, y), (x1, y)], fill=(255, 255, 255), width=2)
        (left, upper), (right, lower) = ratio.heart
        middle = (upper + lower) / 2 * scale
        draw.line([(left * scale, middle), (right * scale, middle)], fill=COLOURS["heart"], width=2)
        for x, end in ((left, upper), (right, lower)):
            draw.line([(x * scale, end * scale), (x * scale, middle)], fill=COLOURS["heart"])
    return image


def heat(grey: Pixels, attention: Pixels, rgb: tuple[int, int, int]) -> Image.Image:
    """One attention map over the radiograph.

    Full colour is its 99.5th percentile, but at least four times the mean over the patches, so that
    attention that is the same everywhere looks like it (our choice).

    Args:
        grey: float32 [rows, columns] in [0, 1].
        attention: float32 [h, w]; 1 is the mean over the patches.
        rgb: the colour.
    """
    size = (grey.shape[1], grey.shape[0])
    smooth = np.asarray(
        Image.fromarray(np.asarray(attention, dtype=np.float32)).resize(
            size, Image.Resampling.BILINEAR
        )
    )
    top = max(float(np.quantile(smooth, 0.995)), EVEN)
    alpha = 0.75 * np.clip(smooth / top, 0, 1)[..., None]
    mixed = as_rgb(grey) * (1 - alpha) + np.array(rgb) * alpha
    return Image.fromarray(mixed.round().astype(np.uint8))


def as_rgb(grey: Pixels) -> Picture:
    """Grey values in [0, 1] as float RGB in [0, 255]."""
    return np.repeat(np.clip(grey, 0, 1)[..., None].astype(np.float64) * 255, 3, axis=2)


def caption(panel: Image.Image, text: str) -> Image.Image:
    """A panel with one line of text above it."""
    framed = Image.new("RGB", (panel.width, panel.height + 22), (20, 20, 24))
    framed.paste(panel, (0, 22))
    ImageDraw.Draw(framed).text((6, 5), text, fill=(235, 235, 235))
    return framed


def mask_image(mask: NDArray[np.bool_]) -> Image.Image:
    """A mask as an 8-bit picture, 255 inside."""
    return Image.fromarray(mask.astype(np.uint8) * 255)


def map_image(attention: Pixels) -> Image.Image:
    """An attention map as an 8-bit picture; 255 is its largest value."""
    top = max(float(np.max(attention)), 1e-12)
    return Image.fromarray(np.round(np.clip(attention / top, 0, 1) * 255).astype(np.uint8))


def png_base64(image: Image.Image) -> str:
    """A picture as base64 text of its PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=False)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
