"""Roll-out figures: attention roll-out on the best, median and worst image."""

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
    compute_image_mae,
    compute_model_rollout,
    select_most_positive_outputs,
)
from medprior.evaluate.localisation.targets import load_true_masks
from medprior.evaluate.report.attention_figure import (
    MAX_MAPS,
    PANEL_SIZE_PX,
    plot_contour_legend,
    plot_contours,
    plot_radiograph,
    select_best_median_worst,
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
    for entry in inputs.models:
        if not has_vit_attention(entry.item):
            continue
        task = entry.item.task
        path = folder / f"rollout_{task}_{entry.name}.png"
        section = sections[task]
        if task == "segmentation":
            dice_columns = [v for name, v in section.columns.items() if name.startswith("dice_")]
            cases = select_best_median_worst(compute_nan_mean(np.stack(dice_columns))) if dice_columns else {}
            if cases:
                figures.append(plot_segmentation_rollout(path, entry, study.part, cases))
        else:
            scores, truth = section.extra["scores"], section.extra["truth"]
            cases = select_best_median_worst(-compute_image_mae(truth, next(iter(scores.values()))))
            labels = section.extra["labels"]
            if cases:
                figure = plot_finding_rollout(path, entry, study.part, cases, labels, truth, scores[entry.name])
                figures.append(figure)
    return figures


def plot_segmentation_rollout(path: Path, entry: NamedInput[Any], cohort: Cohort, cases: dict[str, int]) -> Figure:
    """Roll-out of each structure's predicted patches, with its true contour.

    Args:
        path: where to write.
        entry: a segmentation model.
        cohort: the evaluated images.
        cases: case -> index of its image.
    """
    images = cohort.select([cohort.image_ids[index] for index in cases.values()])
    names = list(entry.item.structures)[:MAX_MAPS]
    rollout = compute_model_rollout(entry.item, images, PANEL_SIZE_PX)
    annotated = [name for name in names if name in cohort.structures]
    truth = load_true_masks(images, {name: (name,) for name in annotated}, PANEL_SIZE_PX)
    size = (1.5 * (len(names) + 1) + 0.4, 1.7 * len(cases) + 0.7)
    with open_figure(path, len(cases), len(names) + 1, *size) as (figure, axes):
        titles = [key_to_words(name) for name in names]
        plot_rollout_panels(axes, images, list(cases), rollout, list(range(len(names))), titles)
        for row in range(len(cases)):
            aspect = float(images.aspect[row])
            plot_contours(axes[row, 0], truth[row], annotated, aspect)
            for column, name in enumerate(names, start=1):
                if name in annotated:
                    mask = truth[row, [annotated.index(name)]]
                    plot_contours(axes[row, column], mask, [name], aspect)
        plot_contour_legend(figure, annotated)
    caption = (
        f"Dense attention roll-out of {entry.name}: where the patches predicted as a structure took "
        "their content from, through all blocks. Lines are the true contours." + LEFT_OUT_NOTE
    )
    return Figure(path, f"Roll-out per structure: {entry.name}", caption)


def plot_finding_rollout(
    path: Path,
    entry: NamedInput[Any],
    cohort: Cohort,
    cases: dict[str, int],
    labels: list[str],
    truth: NDArray[np.float64],
    probability: NDArray[np.float64],
) -> Figure:
    """Gradient-weighted roll-out of each finding.

    Args:
        path: where to write.
        entry: a classification model.
        cohort: the evaluated images.
        cases: case -> index of its image.
        labels: the C evaluated findings.
        truth: [n, C] in {0, 1, NaN}.
        probability: of the model, [n, C].
    """
    rows = list(cases.values())
    images = cohort.select([cohort.image_ids[label_index] for label_index in rows])
    rollout = compute_model_rollout(entry.item, images, PANEL_SIZE_PX)
    columns = select_most_positive_outputs(truth, MAX_MAPS)
    outputs = [entry.item.labels.index(labels[label_index]) for label_index in columns]
    size = (1.5 * (len(columns) + 1) + 0.4, 1.9 * len(cases) + 0.4)
    with open_figure(path, len(cases), len(columns) + 1, *size) as (_, axes):
        titles = [key_to_words(labels[label_index]) for label_index in columns]
        plot_rollout_panels(axes, images, list(cases), rollout, outputs, titles)
        for row, image in enumerate(rows):
            for panel, label_index in enumerate(columns, start=1):
                true_label = {0.0: "absent", 1.0: "present"}.get(float(truth[image, label_index]), "unknown")
                text = f"p {probability[image, label_index]:.2f}, {true_label}"
                axes[row, panel].set_xlabel(f"{text}\n{axes[row, panel].get_xlabel()}")
    caption = (
        f"Attention roll-out of {entry.name} per finding, heads weighted by the gradient of the "
        "finding's score (after Chefer et al. 2021), over the image with the smallest, the median "
        "and the largest mean error; the model's probability and the label below." + LEFT_OUT_NOTE
    )
    return Figure(path, f"Roll-out per finding: {entry.name}", caption)


def plot_rollout_panels(
    axes: Any,
    images: Cohort,
    cases: list[str],
    rollout: RolloutMaps,
    outputs: list[int],
    titles: list[str],
) -> None:
    """The radiograph, then one map per output, one row per image."""
    squares = images.squares(PANEL_SIZE_PX)
    for row, case in enumerate(cases):
        aspect = float(images.aspect[row])
        plot_radiograph(axes[row, 0], squares[row], None, aspect)
        axes[row, 0].set_ylabel(case)
        for column, output in enumerate(outputs, start=1):
            axis, is_predicted = axes[row, column], bool(rollout.is_predicted[row, output])
            plot_radiograph(axis, squares[row], rollout.maps[row, output] if is_predicted else None, aspect)
            dropped_share = rollout.dropped_share[row, output]
            axis.set_xlabel(f"{dropped_share:.0%} left out" if is_predicted else "not found")
            if row == 0:
                axis.set_title(titles[column - 1])
    axes[0, 0].set_title("radiograph")
