"""Plots `prior.png`: the maps on the mean radiograph and on single images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.figure_style import save_figure, use_figure_style
from medprior.palette import structure_colour
from medprior.priors.prior import ANNOTATED_STATUS, SpatialPrior
from medprior.side_markers import plot_side_markers

MAX_PLOTTED_IMAGES = 5
Maps = NDArray[np.float32]


def plot_prior(prior: SpatialPrior, cohort: Cohort, path: Path, seed: int = 0) -> None:
    """Write `path`: the common maps on the mean picture, then a few images with their own maps.

    The images are sampled at random from the training split, plus the one that registered worst.
    """
    from matplotlib.figure import Figure

    size = prior.maps.shape[-1]
    train = cohort.split("train")
    mean = np.asarray(train.take(300, seed).squares(size)).mean(axis=0)
    panels: list[tuple[str, Maps, Maps]] = [("mean radiograph", mean, prior.maps)]
    for title, image_id in select_plotted_images(prior, train, seed):
        picture = train.select([image_id]).squares(size)[0]
        panels.append((title, np.asarray(picture), prior.maps_for(image_id)))
    with use_figure_style():
        figure = Figure(figsize=(2.2 * len(panels), 2.6), layout="constrained")
        for axes, panel in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
            plot_prior_panel(axes, *panel, prior.names)
        names = ", ".join(name.replace("_", " ") for name in prior.names)
        figure.suptitle(f"{prior.method}: {names} (lines at 0.25, 0.5, 0.75)")
        save_figure(figure, path)


def select_plotted_images(prior: SpatialPrior, train: Cohort, seed: int) -> list[tuple[str, str]]:
    """Titles and ids of the single images to show."""
    names = list(train.take(MAX_PLOTTED_IMAGES - 1, seed).image_ids)
    if prior.table is None:
        return [("the same for all", name) for name in names[:2]]
    table = prior.table.set_index("image_id").loc[list(train.image_ids)]
    status = table.status.to_dict()
    transferred = table[table.status != ANNOTATED_STATUS].sort_values(["trust", "correlation"])
    worst = [(f"worst: {status[name]}", str(name)) for name in transferred.index[:1]]
    return [(str(status[name]), name) for name in names] + worst


def plot_prior_panel(axes: Any, title: str, picture: Maps, maps: Maps, names: Sequence[str]) -> None:
    """Plot one picture with the contours of its maps."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    for order, (name, layer) in enumerate(zip(names, maps, strict=True)):
        if layer.max() > 0.25:
            levels = [level for level in (0.25, 0.5, 0.75) if level < layer.max()]
            axes.contour(layer, levels=levels, colors=structure_colour(name, order), linewidths=[0.5, 1.5, 0.5])
    plot_side_markers(axes)
    axes.set_title(title)
    axes.axis("off")
