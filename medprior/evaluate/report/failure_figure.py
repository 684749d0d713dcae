"""Failure figures: most confident errors per label, and the images with the lowest Dice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.localisation.targets import load_true_masks
from medprior.evaluate.report.attention_figure import PANEL_SIZE_PX, plot_contour_legend, plot_contours, plot_radiograph
from medprior.evaluate.report.style import Figure, key_to_words, open_figure
from medprior.evaluate.sections.models import postprocess_masks
from medprior.evaluate.study import EvaluationStudy, Section
from medprior.metrics.auc import Array, Floats
from medprior.metrics.bootstrap import compute_nan_mean

IMAGES_PER_ERROR = 3  # images per label and kind of error
LABELS_PER_FIGURE = 5  # labels that fit on a printed page
MAX_WORST_IMAGES = 4  # images of the worst contours
MAX_NAME_LETTERS = 14  # letters of a pseudonym shown under a panel


def plot_failure_figures(
    folder: Path, study: EvaluationStudy, inputs: Inputs, sections: dict[str, Section]
) -> list[Figure]:
    """Worst errors of each classifier, five labels a figure, and worst masks of each segmenter."""
    figures: list[Figure] = []
    for entry in inputs.models:
        task, path = entry.item.task, folder / f"failures_{entry.item.task}_{entry.name}"
        section = sections[task]
        if task == "segmentation":
            figure = plot_worst_masks(path.with_suffix(".png"), entry, study.part, section, inputs)
            figures += [figure] if figure else []
        elif entry.name in section.extra.get("thresholds", {}):
            labels = section.extra["labels"]
            for number, start in enumerate(range(0, len(labels), LABELS_PER_FIGURE), start=1):
                columns = slice(start, start + LABELS_PER_FIGURE)
                figure_path = path.with_name(f"{path.name}_{number}.png")
                figures.append(plot_errors(figure_path, entry.name, study.part, section, columns))
    return figures


def find_confident_errors(
    truth: Floats, probability: Floats, threshold: float, patients: Sequence[str], limit: int
) -> tuple[list[int], list[int]]:
    """Rows of the most confident false positives and false negatives, one image per patient.

    Shape:
        truth [n] in {0, 1, NaN}, probability [n]. A NaN threshold is taken as 0.5.
    """
    cut = 0.5 if np.isnan(threshold) else threshold
    is_called = probability >= cut
    errors = ((truth == 0) & is_called, -probability), ((truth == 1) & ~is_called, probability)
    false_positives, false_negatives = (
        select_one_row_per_patient([row for row in np.argsort(order, kind="stable") if is_error[row]], patients, limit)
        for is_error, order in errors
    )
    return false_positives, false_negatives


def select_one_row_per_patient(order: Iterable[int], patients: Sequence[str], limit: int) -> list[int]:
    """The first `limit` rows of `order` with one row per patient."""
    first_rows: dict[str, int] = {}
    for row in order:
        first_rows.setdefault(patients[row], int(row))
    return list(first_rows.values())[:limit]


def plot_errors(path: Path, name: str, cohort: Cohort, section: Section, columns: slice) -> Figure:
    """False positives on the left, false negatives on the right, one row per label.

    Args:
        path: where to write.
        name: of the model.
        cohort: the evaluated images.
        section: of classification, with labels, truth, scores and thresholds.
        columns: of the labels to show.
    """
    labels = section.extra["labels"][columns]
    truth, scores = section.extra["truth"][:, columns], section.extra["scores"][name][:, columns]
    thresholds = section.extra["thresholds"][name][columns]
    patients = cohort.patient_ids.tolist()
    with open_figure(path, len(labels), 2 * IMAGES_PER_ERROR, 8.4, 1.95 * len(labels) + 0.5) as (_, axes):
        for row, label in enumerate(labels):
            label_data = truth[:, row], scores[:, row]
            error_rows = find_confident_errors(*label_data, float(thresholds[row]), patients, IMAGES_PER_ERROR)
            for number, rows in enumerate(error_rows):
                panels = axes[row, number * IMAGES_PER_ERROR : (number + 1) * IMAGES_PER_ERROR]
                plot_error_panels(panels, cohort, rows, *label_data)
                if row == 0:
                    panels[0].set_title(f"false {('positive', 'negative')[number]}s", loc="left")
            axes[row, 0].set_ylabel(key_to_words(label))
    caption = (
        f"The most confident wrong answers of {name} on the evaluated images, at the thresholds "
        "chosen on validation: false positives on the left, false negatives on the right, at most "
        "one image per patient. Below each: probability, the label, and the image's pseudonym."
    )
    return Figure(path, f"Where {name} is wrong", caption)


def plot_error_panels(axes: Any, cohort: Cohort, rows: list[int], truth: Floats, probability: Floats) -> None:
    """One image per axis with probability and true label; "none" without an error."""
    images = cohort.select([cohort.image_ids[row] for row in rows])
    squares = images.squares(PANEL_SIZE_PX)
    for number, axis in enumerate(axes):
        if number >= len(rows):
            axis.set_axis_on()
            axis.set(xticks=[], yticks=[], box_aspect=1)
            for spine in axis.spines.values():
                spine.set_visible(False)
            axis.text(0.5, 0.5, "none" if number == 0 else "", ha="center", va="center", color="0.4")
            continue
        plot_radiograph(axis, squares[number], None, float(images.aspect[number]))
        row = rows[number]
        true_label = "present" if truth[row] == 1 else "absent"
        name = shorten_pseudonym(cohort.image_ids[row])
        axis.set_xlabel(f"p {probability[row]:.2f}, {true_label}\n{name}", fontsize=7)


def shorten_pseudonym(image_id: str) -> str:
    """The first letters of a pseudonym, short enough to fit under a panel."""
    return image_id if len(image_id) <= MAX_NAME_LETTERS else image_id[: MAX_NAME_LETTERS - 1] + "…"


def plot_worst_masks(
    path: Path, entry: NamedInput[Any], cohort: Cohort, section: Section, inputs: Inputs
) -> Figure | None:
    """The images with the lowest mean Dice, with true and predicted contours.

    Args:
        path: where to write.
        entry: a segmentation model.
        cohort: the evaluated images.
        section: of segmentation, with Dice columns.
        inputs: with the primary model, whose columns have no prefix.
    """
    primary = next(m.name for m in inputs.models if m.item.task == "segmentation")
    prefix = "dice_" if entry.name == primary else f"{entry.name}.dice_"
    dice_columns = {key: v for key, v in section.columns.items() if key.startswith(prefix)}
    if not dice_columns:
        return None
    dice: Array = compute_nan_mean(np.stack(list(dice_columns.values())))
    rows = find_lowest_rows(dice, cohort.patient_ids.tolist(), MAX_WORST_IMAGES)
    if not rows:
        return None
    images = cohort.select([cohort.image_ids[row] for row in rows])
    names = [key.removeprefix(prefix) for key in dice_columns]
    maps = entry.item.predict_cohort(images)
    size = maps.shape[-1]
    squares, truth = images.squares(PANEL_SIZE_PX), load_true_masks(images, {name: (name,) for name in names}, size)
    masks = np.stack([postprocess_masks(entry.item, name, maps) for name in names], axis=1)
    with open_figure(path, 1, len(rows), 2.1 * len(rows), 2.9) as (figure, axes):
        for column, row in enumerate(rows):
            axis, aspect = axes[0, column], float(images.aspect[column])
            plot_radiograph(axis, squares[column], None, aspect)
            plot_contours(axis, truth[column], names, aspect)
            plot_contours(axis, masks[column], names, aspect, style=":")
            axis.set_title(f"Dice {dice[row]:.3f}")
            axis.set_xlabel(shorten_pseudonym(cohort.image_ids[row]), fontsize=7)
        plot_contour_legend(figure, names)
    caption = (
        f"The images with the lowest mean Dice of {entry.name}, at most one per "
        "patient: true contours (full lines) and predicted ones (dotted); below, the image's pseudonym."
    )
    return Figure(path, f"Worst contours of {entry.name}", caption)


def find_lowest_rows(values: Array, patients: Sequence[str], limit: int) -> list[int]:
    """Rows of the lowest known `values` [n], at most one per patient."""
    order: NDArray[np.intp] = np.argsort(values, kind="stable")
    return select_one_row_per_patient(order[: int((~np.isnan(values)).sum())], patients, limit)
