"""Where a model fails: its most confident wrong answers per label, and its worst contours."""

from __future__ import annotations

from collections.abc import Sequence
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
LABELS_PER_FIGURE = 5  # labels per figure: what a printed page holds
MAX_WORST_IMAGES = 4  # images of the worst contours
MAX_NAME_LETTERS = 14  # letters of a pseudonym that fit under a panel


def plot_failure_figures(
    folder: Path, study: EvaluationStudy, inputs: Inputs, sections: dict[str, Section]
) -> list[Figure]:
    """Worst answers of each classifier, five labels a figure, and worst masks of each segmenter."""
    figures: list[Figure] = []
    for named in inputs.models:
        task, path = named.item.task, folder / f"failures_{named.item.task}_{named.name}"
        section = sections[task]
        if task == "segmentation":
            found = plot_worst_masks(path.with_suffix(".png"), named, study.part, section, inputs)
            figures += [found] if found else []
        elif named.name in section.extra.get("thresholds", {}):
            labels = section.extra["labels"]
            for number, start in enumerate(range(0, len(labels), LABELS_PER_FIGURE), start=1):
                some = slice(start, start + LABELS_PER_FIGURE)
                own = path.with_name(f"{path.name}_{number}.png")
                figures.append(plot_errors(own, named.name, study.part, section, some))
    return figures


def find_confident_errors(
    truth: Floats, probability: Floats, threshold: float, patients: Sequence[str], most: int
) -> tuple[list[int], list[int]]:
    """Rows of the most confident false positives and false negatives, one image per patient.

    Shape:
        truth [n] in {0, 1, NaN}, probability [n]. A NaN threshold counts as one half.
    """
    cut = 0.5 if np.isnan(threshold) else threshold
    called = probability >= cut
    wrong = ((truth == 0) & called, -probability), ((truth == 1) & ~called, probability)
    found = []
    for mistaken, order in wrong:
        rows: list[int] = []
        seen: set[str] = set()
        for row in np.argsort(order, kind="stable"):
            if mistaken[row] and patients[row] not in seen and len(rows) < most:
                rows.append(int(row))
                seen.add(patients[row])
        found.append(rows)
    return found[0], found[1]


def plot_errors(path: Path, name: str, cohort: Cohort, section: Section, some: slice) -> Figure:
    """False positives on the left, false negatives on the right, one row per label.

    Args:
        path: where to write.
        name: of the model.
        cohort: the judged images.
        section: of classification; its labels, truth, scores and thresholds are used.
        some: which labels.
    """
    labels = section.extra["labels"][some]
    truth, scores = section.extra["truth"][:, some], section.extra["scores"][name][:, some]
    thresholds = section.extra["thresholds"][name][some]
    patients = cohort.patient_ids.tolist()
    with open_figure(path, len(labels), 2 * IMAGES_PER_ERROR, 8.4, 1.95 * len(labels) + 0.5) as (_, axes):
        for row, label in enumerate(labels):
            one = truth[:, row], scores[:, row]
            pair = find_confident_errors(*one, float(thresholds[row]), patients, IMAGES_PER_ERROR)
            for number, rows in enumerate(pair):
                part = axes[row, number * IMAGES_PER_ERROR : (number + 1) * IMAGES_PER_ERROR]
                plot_error_panels(part, cohort, rows, *one)
                if row == 0:
                    part[0].set_title(f"false {('positive', 'negative')[number]}s", loc="left")
            axes[row, 0].set_ylabel(key_to_words(label))
    caption = (
        f"The most confident wrong answers of {name} on the judged images, at the thresholds "
        "chosen on validation: false positives on the left, false negatives on the right, at most "
        "one image per patient. Below each: probability, the label, and the image's pseudonym."
    )
    return Figure(path, f"Where {name} is wrong", caption)


def plot_error_panels(axes: Any, cohort: Cohort, rows: list[int], truth: Floats, probability: Floats) -> None:
    """One image per axis with what was said and what is so; "none" where there is no error."""
    some = cohort.select([cohort.image_ids[row] for row in rows])
    squares = some.squares(PANEL_SIZE_PX)
    for number, axis in enumerate(axes):
        if number >= len(rows):
            axis.set_axis_on()
            axis.set(xticks=[], yticks=[], box_aspect=1)
            for spine in axis.spines.values():
                spine.set_visible(False)
            axis.text(0.5, 0.5, "none" if number == 0 else "", ha="center", va="center", color="0.4")
            continue
        plot_radiograph(axis, squares[number], None, float(some.aspect[number]))
        row = rows[number]
        answer = "present" if truth[row] == 1 else "absent"
        name = shorten_pseudonym(cohort.image_ids[row])
        axis.set_xlabel(f"p {probability[row]:.2f}, {answer}\n{name}", fontsize=7)


def shorten_pseudonym(image_id: str) -> str:
    """A pseudonym that fits under a panel: its first letters, unique enough to find it."""
    return image_id if len(image_id) <= MAX_NAME_LETTERS else image_id[: MAX_NAME_LETTERS - 1] + "…"


def plot_worst_masks(
    path: Path, named: NamedInput[Any], cohort: Cohort, section: Section, inputs: Inputs
) -> Figure | None:
    """The images with the lowest mean Dice, true and drawn contours.

    Args:
        path: where to write.
        named: a segmentation model.
        cohort: the judged images.
        section: of segmentation; its Dice columns are used.
        inputs: tells the primary model, whose columns have no name.
    """
    first = next(m.name for m in inputs.models if m.item.task == "segmentation")
    lead = "dice_" if named.name == first else f"{named.name}.dice_"
    own = {key: v for key, v in section.columns.items() if key.startswith(lead)}
    if not own:
        return None
    dice: Array = compute_nan_mean(np.stack(list(own.values())))
    rows = find_lowest_rows(dice, cohort.patient_ids.tolist(), MAX_WORST_IMAGES)
    if not rows:
        return None
    some = cohort.select([cohort.image_ids[row] for row in rows])
    names = [key.removeprefix(lead) for key in own]
    maps = named.item.predict_cohort(some)
    size = maps.shape[-1]
    squares, truth = some.squares(PANEL_SIZE_PX), load_true_masks(some, {name: (name,) for name in names}, size)
    masks = np.stack([postprocess_masks(named.item, name, maps) for name in names], axis=1)
    with open_figure(path, 1, len(rows), 2.1 * len(rows), 2.9) as (figure, axes):
        for column, row in enumerate(rows):
            axis, aspect = axes[0, column], float(some.aspect[column])
            plot_radiograph(axis, squares[column], None, aspect)
            plot_contours(axis, truth[column], names, aspect)
            plot_contours(axis, masks[column], names, aspect, style=":")
            axis.set_title(f"Dice {dice[row]:.3f}")
            axis.set_xlabel(shorten_pseudonym(cohort.image_ids[row]), fontsize=7)
        plot_contour_legend(figure, names)
    caption = (
        f"The images with the lowest mean Dice of {named.name} among those judged, at most one per "
        "patient: true contours (full lines) and drawn ones (dotted); below, the image's pseudonym."
    )
    return Figure(path, f"Worst contours of {named.name}", caption)


def find_lowest_rows(values: Array, patients: Sequence[str], most: int) -> list[int]:
    """Rows of the lowest known `values` [n], at most one per patient."""
    rows: list[int] = []
    seen: set[str] = set()
    order: NDArray[np.intp] = np.argsort(values, kind="stable")
    for row in order[: int((~np.isnan(values)).sum())]:
        if patients[row] not in seen and len(rows) < most:
            rows.append(int(row))
            seen.add(patients[row])
    return rows
