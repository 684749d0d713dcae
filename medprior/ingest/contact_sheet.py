"""Forty-eight images of a cohort on one page, to be judged by eye."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medprior.provenance import atomic

COUNT, ACROSS = 48, 8
SIDE, CAPTION, GAP = 200, 46, 6
PAPER, INK, QUIET, ALARM = (18, 18, 20), (235, 235, 235), (150, 150, 155), (255, 176, 60)
COLOURS = {
    "left_lung": (90, 170, 255),
    "right_lung": (90, 230, 160),
    "lungs": (90, 200, 255),
    "heart": (255, 90, 90),
}
OTHER = (230, 200, 60)
Read = Callable[[str], NDArray[np.float32]]
ReadMasks = Callable[[str], Mapping[str, NDArray[np.bool_]]]


def write_contact_sheet(path: Path, manifest: pd.DataFrame, read: Read, masks: ReadMasks) -> None:
    """Draw images spread evenly over the manifest, with view, facts, flags and mask outlines.

    Args:
        path: PNG to write.
        manifest: rows to choose from.
        read: image_id -> float32 [h, w] in [0, 1].
        masks: image_id -> structure -> bool [h, w].
    """
    chosen = np.unique(np.linspace(0, len(manifest) - 1, min(COUNT, len(manifest))).astype(int))
    across = min(ACROSS, len(chosen))
    down = -(-len(chosen) // across)
    cell = (SIDE + GAP, SIDE + CAPTION + GAP)
    sheet = Image.new("RGB", (across * cell[0] + GAP, down * cell[1] + GAP), PAPER)
    for number, index in enumerate(chosen.tolist()):
        row = manifest.iloc[index]
        corner = (GAP + number % across * cell[0], GAP + number // across * cell[1])
        sheet.paste(thumbnail(read(row.image_id), masks(row.image_id)), corner)
        caption(ImageDraw.Draw(sheet), row, (corner[0], corner[1] + SIDE + 2))
    with atomic(path) as temporary:
        # A quarter of the time of Pillow's own level.
        sheet.save(temporary, format="PNG", compress_level=1)


def thumbnail(pixels: NDArray[np.float32], masks: Mapping[str, NDArray[np.bool_]]) -> Image.Image:
    """A picture with coloured outlines, fitted into a square."""
    grey = Image.fromarray((pixels * 255).astype(np.uint8))
    grey.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    colour = np.stack([np.asarray(grey)] * 3, axis=-1)
    for name, mask in masks.items():
        small = np.asarray(Image.fromarray(mask).resize(grey.size, Image.Resampling.NEAREST))
        inner = small[1:-1, 1:-1] & small[:-2, 1:-1] & small[2:, 1:-1]
        inner &= small[1:-1, :-2] & small[1:-1, 2:]
        edge = small.copy()
        edge[1:-1, 1:-1] &= ~inner
        colour[edge] = COLOURS.get(name, OTHER)
    square = Image.new("RGB", (SIDE, SIDE), (0, 0, 0))
    square.paste(Image.fromarray(colour), ((SIDE - grey.size[0]) // 2, (SIDE - grey.size[1]) // 2))
    return square


def caption(draw: ImageDraw.ImageDraw, row: pd.Series, corner: tuple[int, int]) -> None:
    """Three lines: id, facts, flags."""
    font = ImageFont.load_default(size=11)
    age = "" if pd.isna(row.age) else f"{row.age:.0f} y"
    sex = row.sex if isinstance(row.sex, str) else ""
    inverted = "inverted" if row.polarity_inverted else ""
    facts = " ".join(
        part for part in (row["view"], sex, age, f"{row.cols}x{row.rows}", inverted) if part
    )
    flags = str(row["flags"]).replace("|", " ")
    lines = ((str(row.image_id)[:30], QUIET), (facts, INK), (flags[:30], ALARM))
    for number, (text, colour) in enumerate(lines):
        draw.text((corner[0], corner[1] + 14 * number), text, fill=colour, font=font)
