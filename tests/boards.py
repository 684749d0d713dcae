"""Generated circuit boards: parts in their places, scratches as defects; radiographs of nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

PARTS = {
    "processor": (0.30, 0.25, 0.62, 0.55),
    "connector": (0.08, 0.66, 0.20, 0.94),
    "capacitor": (0.70, 0.70, 0.86, 0.86),
}
"""Left, top, right and bottom of each part, shares of the side."""
GREY = {"processor": 0.75, "connector": 0.9, "capacitor": 0.6}
OVERSAMPLING = 4
DESCRIPTOR = r"""
name: boards
title: Generated circuit boards
homepage: none
licence: none
images:
  - match: '^(?P<id>board\d+)\.png$'
tables:
  - files: [labels.csv]
    key: [image]
    labels:
      defect: [defect]
masks:
  - match: '^masks/(?P<structure>processor|connector|capacitor)/(?P<id>[^/]+)\.png$'
"""


def render_board(seed: int, side: int, is_defect: bool) -> tuple[NDArray[np.float64], dict[str, NDArray[np.bool_]]]:
    """Grey values [side, side] in [0, 1] and the mask of each part; a defect is a scratch on the processor."""
    rng = np.random.default_rng(seed)
    fine = side * OVERSAMPLING
    picture = Image.new("F", (fine, fine), 0.25)
    draw = ImageDraw.Draw(picture)
    for start, end, row, grey in zip(*rng.random((3, 25)), rng.uniform(0.3, 0.5, 25), strict=True):
        draw.line([(start * fine, row * fine), (end * fine, row * fine)], fill=float(grey), width=OVERSAMPLING)
    shift, zoom, masks = rng.normal(0, 0.03, 2), 1 + rng.normal(0, 0.05), {}
    corners = {}
    for name, box in PARTS.items():
        moved = (np.array(box) - 0.5) * zoom + 0.5 + np.tile(shift + rng.normal(0, 0.02, 2), 2)
        corners[name] = moved * fine
        mask = Image.new("L", (fine, fine), 0)
        grey = GREY[name] + rng.normal(0, 0.05)
        for canvas, fill in ((draw, float(grey)), (ImageDraw.Draw(mask), 255)):
            shape = canvas.ellipse if name == "capacitor" else canvas.rectangle
            shape(corners[name].tolist(), fill=fill)
        masks[name] = np.asarray(mask.resize((side, side), Image.Resampling.BOX)) > 127
    if is_defect:
        length = 0.08 * fine
        x, y = rng.uniform(corners["processor"][:2], corners["processor"][2:] - length)
        draw.line([(x, y), (x + length, y + 1.2 * length)], fill=0.1, width=3 * OVERSAMPLING)
    pixels = np.asarray(picture.resize((side, side), Image.Resampling.BOX), dtype=np.float64)
    return np.clip(pixels + rng.normal(0, 0.03, pixels.shape), 0, 1), masks


def write_boards(folder: Path, count: int, side: int = 96) -> Path:
    """Boards as PNG with masks and `labels.csv` below `folder / "boards"`; every third has a defect. The descriptor."""
    root, rows = folder / "boards", ["image,defect"]
    for seed in range(count):
        pixels, masks = render_board(seed, side, seed % 3 == 0)
        files = {root / f"board{seed:03d}.png": np.uint8(pixels * 255)}
        files |= {root / "masks" / name / f"board{seed:03d}.png": np.uint8(mask) * 255 for name, mask in masks.items()}
        for path, values in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
        rows.append(f"board{seed:03d},{int(seed % 3 == 0)}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    descriptor = folder / "boards.yaml"
    descriptor.write_text(DESCRIPTOR)
    return descriptor
