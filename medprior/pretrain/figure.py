"""Figure `attention.png`: the CLS attention of every head over a few training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from medprior.cohort import Cohort
from medprior.figure_style import save_figure, use_figure_style
from medprior.geometry import create_whole_image_views
from medprior.networks.attention import compute_attention_maps
from medprior.networks.encoder import Encoder
from medprior.networks.views import crop_views
from medprior.side_markers import plot_side_markers


def plot_head_attention(
    path: Path, network: Encoder, cohort: Cohort, size: int, heads: dict[str, int], images: int = 4
) -> None:
    """Plot every head's CLS attention over `images` images of the cohort, one row each."""
    from matplotlib.figure import Figure

    subset = cohort.take(images)
    squares = torch.from_numpy(np.array(subset.squares(2 * size)))[:, None]
    side = size // network.settings.patch
    views = create_whole_image_views(subset.aspect, (side, side))
    pixels = crop_views(squares, views, size, torch.arange(len(subset)))
    maps = compute_attention_maps(network, pixels).numpy()
    pictures = pixels[:, 0].numpy()
    structure = {head: name.replace("_", " ") for name, head in heads.items()}
    columns = maps.shape[1] + 1
    with use_figure_style():
        figure = Figure(figsize=(1.6 * columns, 1.75 * len(subset)), layout="constrained")
        axes = figure.subplots(len(subset), columns, squeeze=False)
        for row, line in enumerate(axes):
            for column, axis in enumerate(line):
                axis.imshow(pictures[row], cmap="gray", extent=(0, 1, 1, 0), vmin=0, vmax=1)
                axis.set_axis_off()
                plot_side_markers(axis, 6)
                if column:
                    axis.imshow(
                        maps[row, column - 1], cmap="magma", alpha=0.6, extent=(0, 1, 1, 0),
                        interpolation="bilinear",
                    )  # fmt: skip
                if row == 0:
                    head = column - 1
                    axis.set_title("image" if column == 0 else structure.get(head, f"free head {head}"))
        save_figure(figure, path)
