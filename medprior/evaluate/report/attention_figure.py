"""Attention figure: the maps of each head on the best, median and worst image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.evaluate.localisation.scoring import Localisation, MapSource
from medprior.evaluate.localisation.targets import Targets, load_true_masks
from medprior.evaluate.report.style import Figure, key_to_words, open_figure
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import compute_nan_mean
from medprior.palette import structure_colour
from medprior.side_markers import plot_side_markers

MAX_MAPS = 8
PANEL_SIZE_PX = 256  # pixels of a panel's unit square
MIN_PEAK_RATIO = 3.0  # a map's peak over its mean from which its peak is shown at full brightness


def select_best_median_worst(scores: Array) -> dict[str, int]:
    """Index of the best, median and worst image of `scores` [n] (NaN left out), by name."""
    known_rows = np.flatnonzero(~np.isnan(scores))
    if not len(known_rows):
        return {}
    order = known_rows[np.argsort(-scores[known_rows], kind="stable")]
    ranks = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    return {name: int(order[rank]) for name, rank in ranks.items()}


def select_shown_maps(source: MapSource, localisation: Localisation) -> list[int]:
    """Indices of the maps to show: those chosen for a structure first, `MAX_MAPS` at most."""
    chosen_maps = dict.fromkeys(index for candidate in localisation.chosen.values() for index in candidate)
    other_maps = [index for index in range(source.count) if index not in chosen_maps]
    return [*chosen_maps, *other_maps][:MAX_MAPS]


def format_map_title(index: int, localisation: Localisation) -> str:
    """Title of a map: its number and the structures it is chosen for."""
    names = [key_to_words(name) for name, candidate in localisation.chosen.items() if index in candidate]
    return f"head {index}" + (f"\n{', '.join(names)}" if names else "\n(free)")


def plot_attention_maps(
    path: Path,
    name: str,
    cohort: Cohort,
    targets: Targets,
    source: MapSource,
    localisation: Localisation,
    cases: dict[str, int],
) -> Figure:
    """Plot the maps of one backbone over the images of `cohort` that `cases` names."""
    images = cohort.select([cohort.image_ids[index] for index in cases.values()])
    maps = np.concatenate(list(source.batches(images, PANEL_SIZE_PX)))
    squares, masks = images.squares(PANEL_SIZE_PX), load_true_masks(images, targets, PANEL_SIZE_PX)
    shown_maps = select_shown_maps(source, localisation)
    mean = compute_nan_mean(np.stack(list(localisation.ap.values())))
    width, height = 1.15 * (len(shown_maps) + 1) + 0.4, 1.35 * len(cases) + 0.7
    with open_figure(path, len(cases), len(shown_maps) + 1, width, height) as (figure, axes):
        for row, (case, index) in enumerate(cases.items()):
            aspect = float(images.aspect[row])
            for column, axis in enumerate(axes[row]):
                heat = None if column == 0 else maps[row, shown_maps[column - 1]]
                plot_radiograph(axis, squares[row], heat, aspect)
                plot_contours(axis, masks[row], list(targets), aspect)
                if row == 0:
                    title = "radiograph" if column == 0 else format_map_title(shown_maps[column - 1], localisation)
                    axis.set_title(title)
            axes[row, 0].set_ylabel(f"{case}\nAP {mean[index]:.2f}")
        plot_contour_legend(figure, list(targets))
    caption = (
        f"Attention of the last block's CLS token in {name}, one column per head, over the image "
        "with the best, the median and the worst mean pixel-AP of the primary backbone. Brightness "
        "is attention beyond the map's mean, as a share of its maximum or of three times its mean, where that is more; "
        "lines are the true contours."
    )
    return Figure(path, f"Attention per head: {name}", caption)


def scale_attention(heat: NDArray[Any]) -> NDArray[Any]:
    """Attention beyond the mean of a map, as a share in [0, 1] of its maximum or of `MIN_PEAK_RATIO` times its mean.

    An even map is 0 everywhere: it has no focus, and must not tint the radiograph.
    """
    mean = float(heat.mean())
    full = max(float(heat.max()), MIN_PEAK_RATIO * mean) - mean
    return np.clip((heat - mean) / max(full, 1e-12), 0, 1)


def plot_radiograph(axis: Any, image: NDArray[Any], heat: NDArray[Any] | None, aspect: float) -> None:
    """One radiograph at its true aspect, with an optional map as overlay."""
    frame = (0.0, aspect, 1.0, 0.0)
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, extent=frame, interpolation="bilinear")
    if heat is not None:
        relative = scale_attention(heat)
        axis.imshow(relative, cmap="inferno", vmin=0, vmax=1, alpha=0.65 * relative, extent=frame)
    plot_side_markers(axis, 6)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def plot_contours(axis: Any, masks: NDArray[np.bool_], names: list[str], aspect: float, style: str = "-") -> None:
    """Contours of masks [K, s, s] on the unit square, at the true aspect."""
    size = masks.shape[-1]
    middle = (np.arange(size) + 0.5) / size
    for number, (name, mask) in enumerate(zip(names, masks, strict=True)):
        if mask.any() and not mask.all():
            axis.contour(
                middle * aspect,
                middle,
                mask.astype(float),
                levels=[0.5],
                colors=[structure_colour(name, number)],
                linewidths=0.9,
                linestyles=style,
            )


def plot_contour_legend(figure: Any, names: list[str]) -> None:
    """Legend of the contours below the panels."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=structure_colour(name, number), label=key_to_words(name))
        for number, name in enumerate(names)
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines))
