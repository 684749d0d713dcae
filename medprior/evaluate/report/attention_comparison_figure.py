"""Attention of several backbones on one image: the map of each structure, one row per backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.evaluate.localisation.scoring import Localisation, MapSource, average_candidates
from medprior.evaluate.localisation.targets import Targets, load_true_masks
from medprior.evaluate.report.attention_figure import (
    PANEL_SIZE_PX,
    plot_contour_legend,
    plot_contours,
    plot_radiograph,
)
from medprior.evaluate.report.style import Figure, key_to_words, open_figure


def plot_attention_comparison(
    path: Path,
    cohort: Cohort,
    targets: Targets,
    sources: Mapping[str, MapSource],
    localisations: Mapping[str, Localisation],
    index: int,
) -> Figure:
    """Plot for each backbone the map chosen for each target, over image number `index` of `cohort`.

    `sources` and `localisations` are by name of the backbone; where one has no map for a target, its panel is empty.
    """
    image = cohort.select([cohort.image_ids[index]])
    square, aspect = image.squares(PANEL_SIZE_PX)[0], float(image.aspect[0])
    masks = dict(zip(targets, load_true_masks(image, targets, PANEL_SIZE_PX)[0], strict=True))
    shown_targets = [target for target in targets if any(target in item.chosen for item in localisations.values())]
    width, height = 1.7 * (len(shown_targets) + 1) + 0.3, 1.95 * len(sources) + 0.3
    with open_figure(path, len(sources), len(shown_targets) + 1, width, height) as (figure, axes):
        for line, (name, source) in zip(axes, sources.items(), strict=True):
            (maps,) = source.batches(image, PANEL_SIZE_PX)
            plot_radiograph(line[0], square, None, aspect)
            plot_contours(line[0], np.stack([masks[target] for target in shown_targets]), shown_targets, aspect)
            line[0].set_ylabel(name)
            for axis, target in zip(line[1:], shown_targets, strict=True):
                if target not in localisations[name].chosen:
                    axis.set_visible(False)
                    continue
                plot_chosen_map(axis, square, aspect, maps, masks[target], target, localisations[name], index)
        plot_contour_legend(figure, shown_targets)
    rules = {rule for item in localisations.values() for rule in item.rule.values()}
    choice = " Without an assigned head it is the one with the best mean pixel-AP on validation images."
    caption = (
        "Attention of the last block's CLS token on the image with the median mean pixel-AP of the primary backbone: "
        "for each backbone the head of each structure, with the pixel-AP (AP) of its map on this image; lines are the "
        f"true contours.{choice if 'best on validation' in rules else ''}"
    )
    return Figure(path, "Attention by structure, side by side", caption)


def plot_chosen_map(
    axis: Any,
    square: NDArray[Any],
    aspect: float,
    maps: NDArray[np.float32],
    mask: NDArray[np.bool_],
    target: str,
    localisation: Localisation,
    index: int,
) -> None:
    """One target's map of `maps` [1, M, s, s] over its radiograph [s, s], with true contour, head and pixel-AP."""
    heads = localisation.chosen[target]
    plot_radiograph(axis, square, average_candidates(maps, [heads])[0, 0], aspect)
    plot_contours(axis, mask[None], [target], aspect)
    numbers = " and ".join(map(str, heads))
    axis.set_title(f"{key_to_words(target)}: AP {localisation.ap[target][index]:.2f}\nhead {numbers}")
