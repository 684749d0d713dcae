"""Where a model's answers came from: roll-out maps on the best, median and worst image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.localisation.finding_maps import has_vit_attention
from medprior.evaluate.localisation.rollout_maps import (
    RolloutMaps,
    compute_mean_error,
    compute_model_rollout,
    select_shown_outputs,
)
from medprior.evaluate.localisation.targets import load_true_masks
from medprior.evaluate.report.attention_figure import (
    MAX_MAPS,
    PANEL_SIZE_PX,
    pick_cases,
    plot_contour_legend,
    plot_contours,
    plot_radiograph,
)
from medprior.evaluate.report.style import Figure, key_to_words, open_figure
from medprior.evaluate.study import EvaluationStudy, Section
from medprior.metrics.bootstrap import compute_nan_mean

LEFT_OUT_NOTE = (
    " Below each map: the share that ends on CLS and register tokens and is in no map. Attention "
    "shows where content was taken from, not what decided."
)


def plot_rollout_figures(
    folder: Path, study: EvaluationStudy, inputs: Inputs, sections: dict[str, Section]
) -> list[Figure]:
    """One figure per model, on the best, median and worst image of its task's primary model."""
    figures = []
    for named in inputs.models:
        if not has_vit_attention(named.item):
            continue
        task = named.item.task
        path = folder / f"rollout_{task}_{named.name}.png"
        section = sections[task]
        if task == "segmentation":
            own = [v for name, v in section.columns.items() if name.startswith("dice_")]
            picked = pick_cases(compute_nan_mean(np.stack(own))) if own else {}
            if picked:
                figures.append(plot_segmentation_rollout(path, named, study.part, picked))
        else:
            scores, truth = section.extra["scores"], section.extra["truth"]
            picked = pick_cases(-compute_mean_error(truth, next(iter(scores.values()))))
            labels = section.extra["labels"]
            if picked:
                found = plot_finding_rollout(path, named, study.part, picked, labels, truth, scores[named.name])
                figures.append(found)
    return figures


def plot_segmentation_rollout(path: Path, named: NamedInput[Any], cohort: Cohort, picked: dict[str, int]) -> Figure:
    """Roll-out of each structure's predicted patches, with its true contour.

    Args:
        path: where to write.
        named: a segmentation model.
        cohort: the judged images.
        picked: case -> index of its image.
    """
    some = cohort.select([cohort.image_ids[index] for index in picked.values()])
    names = list(named.item.structures)[:MAX_MAPS]
    found = compute_model_rollout(named.item, some, PANEL_SIZE_PX)
    known = [name for name in names if name in cohort.structures]
    truth = load_true_masks(some, {name: (name,) for name in known}, PANEL_SIZE_PX)
    size = (1.5 * (len(names) + 1) + 0.4, 1.7 * len(picked) + 0.7)
    with open_figure(path, len(picked), len(names) + 1, *size) as (figure, axes):
        titles = [key_to_words(name) for name in names]
        plot_rollout_panels(axes, some, list(picked), found, list(range(len(names))), titles)
        for row in range(len(picked)):
            aspect = float(some.aspect[row])
            plot_contours(axes[row, 0], truth[row], known, aspect)
            for column, name in enumerate(names, start=1):
                if name in known:
                    one = truth[row, [known.index(name)]]
                    plot_contours(axes[row, column], one, [name], aspect)
        plot_contour_legend(figure, known)
    caption = (
        f"Dense attention roll-out of {named.name}: where the patches it calls a structure took "
        "their content from, through all blocks. Lines are the true contours." + LEFT_OUT_NOTE
    )
    return Figure(path, f"Roll-out per structure: {named.name}", caption)


def plot_finding_rollout(
    path: Path,
    named: NamedInput[Any],
    cohort: Cohort,
    picked: dict[str, int],
    labels: list[str],
    truth: NDArray[np.float64],
    probability: NDArray[np.float64],
) -> Figure:
    """Gradient-weighted roll-out of each finding.

    Args:
        path: where to write.
        named: a classification model.
        cohort: the judged images.
        picked: case -> index of its image.
        labels: findings judged, C.
        truth: [n, C] in {0, 1, NaN}.
        probability: of the model, [n, C].
    """
    rows = list(picked.values())
    some = cohort.select([cohort.image_ids[index] for index in rows])
    found = compute_model_rollout(named.item, some, PANEL_SIZE_PX)
    shown = select_shown_outputs(truth, MAX_MAPS)
    outputs = [named.item.labels.index(labels[index]) for index in shown]
    size = (1.5 * (len(shown) + 1) + 0.4, 1.9 * len(picked) + 0.4)
    with open_figure(path, len(picked), len(shown) + 1, *size) as (_, axes):
        titles = [key_to_words(labels[index]) for index in shown]
        plot_rollout_panels(axes, some, list(picked), found, outputs, titles)
        for row, image in enumerate(rows):
            for column, index in enumerate(shown, start=1):
                answer = {0.0: "absent", 1.0: "present"}.get(float(truth[image, index]), "unknown")
                text = f"p {probability[image, index]:.2f}, {answer}"
                axes[row, column].set_xlabel(f"{text}\n{axes[row, column].get_xlabel()}")
    caption = (
        f"Attention roll-out of {named.name} per finding, heads weighted by the gradient of the "
        "finding's score (after Chefer et al. 2021), over the image with the smallest, the median "
        "and the largest mean error; the model's probability and the label below." + LEFT_OUT_NOTE
    )
    return Figure(path, f"Roll-out per finding: {named.name}", caption)


def plot_rollout_panels(
    axes: Any,
    some: Cohort,
    names: list[str],
    found: RolloutMaps,
    outputs: list[int],
    titles: list[str],
) -> None:
    """The radiograph, then one map per output, one row per image of `some`."""
    squares = some.squares(PANEL_SIZE_PX)
    for row, case in enumerate(names):
        aspect = float(some.aspect[row])
        plot_radiograph(axes[row, 0], squares[row], None, aspect)
        axes[row, 0].set_ylabel(case)
        for column, output in enumerate(outputs, start=1):
            axis, there = axes[row, column], bool(found.there[row, output])
            plot_radiograph(axis, squares[row], found.maps[row, output] if there else None, aspect)
            lost = found.dropped[row, output]
            axis.set_xlabel(f"{lost:.0%} left out" if there else "not found")
            if row == 0:
                axis.set_title(titles[column - 1])
    axes[0, 0].set_title("radiograph")
