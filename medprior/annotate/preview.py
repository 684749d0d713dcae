"""A picture of the annotation: the radiograph with the contour of every structure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medprior.provenance import atomic

if TYPE_CHECKING:
    from medprior.annotate.annotation import Annotation


def draw_preview(annotation: Annotation, path: Path) -> None:
    """Write `path`, a PNG about 800 pixels high."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows, cols = annotation.image.shape
    step = max(1, max(rows, cols) // 800)
    figure = Figure(figsize=(8 * cols / rows, 8), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(annotation.image[::step, ::step], cmap="gray", vmin=0, vmax=1)
    axes.axis("off")
    for index, name in enumerate(annotation.structures):
        colour = mpl.colormaps["tab10"](index % 10)
        mask = annotation.masks[name][::step, ::step]
        if mask.shape[0] > 1 and mask.shape[1] > 1:
            axes.contour(mask.astype(np.float32), levels=[0.5], colors=[colour], linewidths=1.5)
        axes.text(0.02, 0.98 - 0.04 * index, name, color=colour, va="top", transform=axes.transAxes)
    text = "patient's left"
    axes.text(0.98, 0.02, text, color="w", ha="right", transform=axes.transAxes)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png")
