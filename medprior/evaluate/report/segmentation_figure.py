"""Segmentation figure: predicted and true contours on the best, median and worst image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medprior.cohort import Cohort
from medprior.evaluate.inputs import NamedInput
from medprior.evaluate.localisation.targets import load_true_masks
from medprior.evaluate.report.attention_figure import plot_contour_legend, plot_contours, plot_radiograph
from medprior.evaluate.report.style import Figure, open_figure
from medprior.evaluate.sections.models import postprocess_masks
from medprior.metrics.auc import Array


def plot_segmentation(
    path: Path, models: list[NamedInput[Any]], cohort: Cohort, dice: Array, cases: dict[str, int]
) -> Figure:
    """The cases in columns, one row per model; true contours solid, predicted ones dotted.

    Args:
        path: where to write.
        models: segmentation models, the primary one first.
        cohort: the evaluated images.
        dice: float64 [n], mean Dice of the primary model.
        cases: case -> index of its image.
    """
    images = cohort.select([cohort.image_ids[index] for index in cases.values()])
    names = [name for name in models[0].item.structures if name in cohort.structures]
    size = (2.3 * len(cases), 2.6 * len(models) + 0.8)
    with open_figure(path, len(models), len(cases), *size) as (figure, axes):
        for row, entry in enumerate(models):
            maps = entry.item.predict_cohort(images)
            squares = images.squares(maps.shape[-1])
            truth = load_true_masks(images, {name: (name,) for name in names}, maps.shape[-1])
            model_structures = [name for name in names if name in entry.item.structures]
            masks = np.stack([postprocess_masks(entry.item, name, maps) for name in model_structures], axis=1)
            for column, (case, index) in enumerate(cases.items()):
                axis, aspect = axes[row, column], float(images.aspect[column])
                plot_radiograph(axis, squares[column], None, aspect)
                plot_contours(axis, truth[column], names, aspect)
                plot_contours(axis, masks[column], model_structures, aspect, style=":")
                if row == 0:
                    axis.set_title(f"{case}, Dice {dice[index]:.3f}")
            axes[row, 0].set_ylabel(entry.name)
        plot_contour_legend(figure, names)
    caption = (
        "True contours (full lines) and predicted contours (dotted) in the image with "
        "the best, the median and the worst mean Dice of the primary model."
    )
    return Figure(path, "Segmentation", caption)
