"""Pictures for the browser."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medprior.dicom.display.resample import compute_resized_shape, resize_pixels
from medprior.palette import assign_colours

Pixels = NDArray[np.float32]


def render_picture(pixels: Pixels, longest: int) -> Image.Image:
    """A picture of at most `longest` pixels a side, 8 bit."""
    rows, cols = compute_resized_shape((pixels.shape[0], pixels.shape[1]), longest)
    small = resize_pixels(pixels, rows, cols)
    return Image.fromarray(np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8))


def encode_picture_png(image: Image.Image) -> bytes:
    """A picture as PNG, written quickly."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def overlay_map_contours(pixels: Pixels, maps: Mapping[str, Pixels], longest: int) -> Image.Image:
    """A picture with the half level of each map as a line.

    Args:
        pixels: float32 [rows, cols] in [0, 1].
        maps: structure -> float32 [h, w] in [0, 1] on the picture's unit square.
        longest: pixels a side of the result.
    """
    from skimage.measure import find_contours

    image = render_picture(pixels, longest).convert("RGB")
    draw = ImageDraw.Draw(image)
    for name, colour in assign_colours(maps).items():
        layer = maps[name]
        scale = np.array([image.height / layer.shape[0], image.width / layer.shape[1]])
        padded = np.pad(layer, 1)
        for line in find_contours(padded, 0.5):  # type: ignore[no-untyped-call]
            # Samples are at pixel centres, one pixel in from the padding's.
            at = (line - 0.5) * scale
            draw.line([(x, y) for y, x in at.tolist()], fill=colour, width=3, joint="curve")
    return image
