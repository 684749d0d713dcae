"""Preview of an annotation: the radiograph with the contour of every structure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprior.figure_text import escape_figure_text
from medprior.palette import assign_colours
from medprior.provenance import atomic_write


def save_mask_preview(image: NDArray[np.float32], masks: Mapping[str, NDArray[np.bool_]], path: Path) -> None:
    """Write `path`, a PNG about 800 pixels high, with the contour and name of every mask.

    Args:
        image: float32 [rows, cols] in [0, 1].
        masks: structure -> bool [rows, cols].
        path: the file.
    """
    from matplotlib.figure import Figure

    rows, cols = image.shape
    step = max(1, max(rows, cols) // 800)
    figure = Figure(figsize=(8 * cols / rows, 8), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image[::step, ::step], cmap="gray", vmin=0, vmax=1)
    axes.axis("off")
    for index, (name, colour) in enumerate(sorted(assign_colours(masks).items())):
        mask = masks[name][::step, ::step]
        if mask.shape[0] > 1 and mask.shape[1] > 1 and mask.any() and not mask.all():
            axes.contour(mask.astype(np.float32), levels=[0.5], colors=[colour], linewidths=1.5)
        axes.text(0.02, 0.98 - 0.04 * index, name, color=colour, va="top", transform=axes.transAxes)
    text = "patient's left"
    axes.text(0.98, 0.02, text, color="w", ha="right", transform=axes.transAxes)
    escape_figure_text(figure)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")
