"""Renders up to 48 images of a cohort on one page for visual inspection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medprior.dicom.radiograph import FRONTAL_VIEWS
from medprior.palette import structure_rgb
from medprior.provenance import atomic_write
from medprior.side_markers import draw_side_markers

IMAGE_COUNT, MAX_COLUMNS = 48, 8
CELL_PX, CAPTION_PX, GAP_PX = 200, 46, 6
PAGE_RGB, TEXT_RGB, MUTED_RGB, FLAG_RGB = (18, 18, 20), (235, 235, 235), (150, 150, 155), (255, 176, 60)
PixelReader = Callable[[str], NDArray[np.float32]]
MaskReader = Callable[[str], Mapping[str, NDArray[np.bool_]]]


def write_contact_sheet(path: Path, manifest: pd.DataFrame, read: PixelReader, masks: MaskReader) -> None:
    """Render images spaced evenly over the manifest, with metadata, flags and mask outlines.

    Args:
        path: PNG to write.
        manifest: rows to choose from.
        read: image_id -> float32 [h, w] in [0, 1].
        masks: image_id -> structure -> bool [h, w].
    """
    indices = np.unique(np.linspace(0, len(manifest) - 1, min(IMAGE_COUNT, len(manifest))).astype(int))
    columns = min(MAX_COLUMNS, len(indices))
    rows = -(-len(indices) // columns)
    cell = (CELL_PX + GAP_PX, CELL_PX + CAPTION_PX + GAP_PX)
    sheet = Image.new("RGB", (columns * cell[0] + GAP_PX, rows * cell[1] + GAP_PX), PAGE_RGB)
    for number, index in enumerate(indices.tolist()):
        row = manifest.iloc[index]
        corner = (GAP_PX + number % columns * cell[0], GAP_PX + number // columns * cell[1])
        thumbnail = render_thumbnail(read(row.image_id), masks(row.image_id))
        if row["view"] in FRONTAL_VIEWS:
            draw_side_markers(thumbnail)
        sheet.paste(thumbnail, corner)
        render_thumbnail_caption(ImageDraw.Draw(sheet), row, (corner[0], corner[1] + CELL_PX + 2))
    with atomic_write(path) as temporary:
        # This takes a quarter of the time of Pillow's default level.
        sheet.save(temporary, format="PNG", compress_level=1)


def render_thumbnail(pixels: NDArray[np.float32], masks: Mapping[str, NDArray[np.bool_]]) -> Image.Image:
    """An image with coloured mask outlines, fitted into a square."""
    grey = Image.fromarray((pixels * 255).astype(np.uint8))
    grey.thumbnail((CELL_PX, CELL_PX), Image.Resampling.BOX)
    colour = np.stack([np.asarray(grey)] * 3, axis=-1)
    for order, (name, mask) in enumerate(masks.items()):
        scaled = np.asarray(Image.fromarray(mask).resize(grey.size, Image.Resampling.NEAREST))
        inner = scaled[1:-1, 1:-1] & scaled[:-2, 1:-1] & scaled[2:, 1:-1]
        inner &= scaled[1:-1, :-2] & scaled[1:-1, 2:]
        edge = scaled.copy()
        edge[1:-1, 1:-1] &= ~inner
        colour[edge] = structure_rgb(name, order)
    square = Image.new("RGB", (CELL_PX, CELL_PX), (0, 0, 0))
    square.paste(Image.fromarray(colour), ((CELL_PX - grey.size[0]) // 2, (CELL_PX - grey.size[1]) // 2))
    return square


def render_thumbnail_caption(draw: ImageDraw.ImageDraw, row: pd.Series, corner: tuple[int, int]) -> None:
    """Draw three lines: id, metadata, flags."""
    font = ImageFont.load_default(size=11)
    age = "" if pd.isna(row.age) else f"{row.age:.0f} y"
    sex = row.sex if isinstance(row.sex, str) else ""
    inverted = "inverted" if row.polarity_inverted else ""
    metadata = " ".join(part for part in (row["view"], sex, age, f"{row.cols}x{row.rows}", inverted) if part)
    flags = str(row["flags"]).replace("|", " ")
    lines = ((str(row.image_id)[:30], MUTED_RGB), (metadata, TEXT_RGB), (flags[:30], FLAG_RGB))
    for number, (text, colour) in enumerate(lines):
        draw.text((corner[0], corner[1] + 14 * number), text, fill=colour, font=font)
