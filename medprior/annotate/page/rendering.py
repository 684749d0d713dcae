"""Render images and contours for the browser."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medprior.dicom.display.resample import compute_resized_shape, resize_pixels
from medprior.palette import assign_colours
from medprior.side_markers import draw_side_markers

Pixels = NDArray[np.float32]


def render_picture(pixels: Pixels, longest: int) -> Image.Image:
    """An 8-bit image of at most `longest` pixels per side."""
    rows, cols = compute_resized_shape((pixels.shape[0], pixels.shape[1]), longest)
    small = resize_pixels(pixels, rows, cols)
    return Image.fromarray(np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8))


def encode_picture_png(image: Image.Image) -> bytes:
    """An image as PNG with fast compression."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def overlay_map_contours(pixels: Pixels, maps: Mapping[str, Pixels], longest: int) -> Image.Image:
    """An image with the 0.5 contour of each map, R and L.

    Args:
        pixels: float32 [rows, cols] in [0, 1].
        maps: structure -> float32 [h, w] in [0, 1] on the unit square of the image.
        longest: longest side of the result in pixels.
    """
    from skimage.measure import find_contours

    image = render_picture(pixels, longest).convert("RGB")
    draw = ImageDraw.Draw(image)
    for name, colour in assign_colours(maps).items():
        layer = maps[name]
        scale = np.array([image.height / layer.shape[0], image.width / layer.shape[1]])
        padded = np.pad(layer, 1)
        for line in find_contours(padded, 0.5):  # type: ignore[no-untyped-call]
            # Samples are pixel centres; the padding adds one pixel.
            points = (line - 0.5) * scale
            draw.line([(x, y) for y, x in points.tolist()], fill=colour, width=3, joint="curve")
    draw_side_markers(image)
    return image
