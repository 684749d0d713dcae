"""Where each head looks: best, median and worst image, with the true contours."""

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

MAX_MAPS = 8
PANEL_SIZE_PX = 256  # pixels of a panel's unit square
MIN_PEAK_RATIO = 3.0  # full brightness needs at least so many times a map's mean


def pick_cases(scores: Array) -> dict[str, int]:
    """Index of the best, median and worst image of `scores` [n] (NaN left out), by name."""
    known = np.flatnonzero(~np.isnan(scores))
    if not len(known):
        return {}
    order = known[np.argsort(-scores[known], kind="stable")]
    picked = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    return {name: int(order[at]) for name, at in picked.items()}


def select_shown_maps(source: MapSource, found: Localisation) -> list[int]:
    """Maps to show: those chosen for a structure first, then others, eight at most."""
    chosen = dict.fromkeys(index for choice in found.chosen.values() for index in choice)
    others = [index for index in range(source.count) if index not in chosen]
    return [*chosen, *others][:MAX_MAPS]


def format_map_title(index: int, found: Localisation) -> str:
    """What a map is: its number, and the structures it stands for."""
    names = [key_to_words(name) for name, choice in found.chosen.items() if index in choice]
    return f"head {index}" + (f"\n{', '.join(names)}" if names else "\n(free)")


def plot_attention_maps(
    path: Path,
    name: str,
    cohort: Cohort,
    wanted: Targets,
    source: MapSource,
    found: Localisation,
    picked: dict[str, int],
) -> Figure:
    """Draw every shown map of one backbone over the picked images of `cohort`."""
    some = cohort.select([cohort.image_ids[index] for index in picked.values()])
    maps = np.concatenate(list(source.batches(some, PANEL_SIZE_PX)))
    squares, masks = some.squares(PANEL_SIZE_PX), load_true_masks(some, wanted, PANEL_SIZE_PX)
    columns = select_shown_maps(source, found)
    mean = compute_nan_mean(np.stack(list(found.ap.values())))
    width, height = 1.15 * (len(columns) + 1) + 0.4, 1.35 * len(picked) + 0.7
    with open_figure(path, len(picked), len(columns) + 1, width, height) as (figure, axes):
        for row, (case, index) in enumerate(picked.items()):
            aspect = float(some.aspect[row])
            for column, axis in enumerate(axes[row]):
                heat = None if column == 0 else maps[row, columns[column - 1]]
                plot_radiograph(axis, squares[row], heat, aspect)
                plot_contours(axis, masks[row], list(wanted), aspect)
                if row == 0:
                    title = "radiograph" if column == 0 else format_map_title(columns[column - 1], found)
                    axis.set_title(title)
            axes[row, 0].set_ylabel(f"{case}\nAP {mean[index]:.2f}")
        plot_contour_legend(figure, list(wanted))
    caption = (
        f"Attention of the last block's CLS token in {name}, one column per head, over the image "
        "with the best, the median and the worst mean pixel-AP of the primary backbone. Brightness "
        "is a share of each map's maximum, or of three times its mean where that is more; lines "
        "are the true contours."
    )
    return Figure(path, f"Attention per head: {name}", caption)


def plot_radiograph(axis: Any, image: NDArray[Any], heat: NDArray[Any] | None, aspect: float) -> None:
    """One radiograph at its true aspect, with a map over it when there is one."""
    frame = (0.0, aspect, 1.0, 0.0)
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, extent=frame, interpolation="bilinear")
    if heat is not None:
        # An even map stays pale: its maximum is no focus.
        relative = heat / max(float(heat.max()), MIN_PEAK_RATIO * float(heat.mean()), 1e-12)
        axis.imshow(relative, cmap="inferno", vmin=0, vmax=1, alpha=0.65 * relative, extent=frame)
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
    """Name the contours below the panels."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=structure_colour(name, number), label=key_to_words(name))
        for number, name in enumerate(names)
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines))
