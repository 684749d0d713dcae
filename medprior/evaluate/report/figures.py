"""Every figure of an evaluation, in the order of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medprior.evaluate.inputs import Inputs
from medprior.evaluate.report.attention_comparison_figure import plot_attention_comparison
from medprior.evaluate.report.attention_figure import plot_attention_maps, select_best_median_worst
from medprior.evaluate.report.bland_altman_figure import plot_bland_altman
from medprior.evaluate.report.external_figure import plot_external_figures
from medprior.evaluate.report.failure_figure import plot_failure_figures
from medprior.evaluate.report.finding_figure import plot_finding_figures
from medprior.evaluate.report.interval_figure import plot_intervals
from medprior.evaluate.report.reliability_figure import plot_reliability
from medprior.evaluate.report.roc_pr_figures import plot_roc_pr_curves
from medprior.evaluate.report.rollout_figure import plot_rollout_figures
from medprior.evaluate.report.segmentation_figure import plot_segmentation
from medprior.evaluate.report.style import Figure
from medprior.evaluate.report.summary import group_attention_records
from medprior.evaluate.report.training_figure import plot_training_curves
from medprior.evaluate.study import EvaluationStudy, Section
from medprior.metrics.bootstrap import compute_nan_mean


def plot_evaluation_figures(
    folder: Path, study: EvaluationStudy, inputs: Inputs, sections: dict[str, Section]
) -> list[Figure]:
    """Plot the figures of all sections as PNG files in `folder`."""
    figures: list[Figure | None] = []
    if "attention" in sections:
        figures += plot_attention_figures(folder, study, sections["attention"], inputs)
    if "classification" in sections:
        figures += plot_classification_figures(folder, study, sections["classification"])
    if "localisation" in sections:
        figures += plot_finding_figures(folder, sections["localisation"], inputs)
    if "segmentation" in sections:
        figures += plot_segmentation_figures(folder, study, sections["segmentation"], inputs)
    figures += plot_failure_figures(folder, study, inputs, sections)
    figures += plot_external_figures(folder, sections)
    figures += plot_rollout_figures(folder, study, inputs, sections)
    figures.append(plot_training_curves(folder / "training_backbones.png", "backbone", inputs.backbones))
    for task in ("classification", "segmentation"):
        models = [entry for entry in inputs.models if entry.item.task == task]
        figures.append(plot_training_curves(folder / f"training_{task}.png", f"{task} model", models))
    return [figure for figure in figures if figure is not None]


def plot_attention_figures(
    folder: Path, study: EvaluationStudy, section: Section, inputs: Inputs
) -> list[Figure | None]:
    """Pixel-AP with intervals, one figure of maps per backbone on the same images, and all beside each other."""
    records = {key: estimate.record() for key, estimate in section.estimates.items()}
    names = [entry.name for entry in inputs.backbones]
    caption = (
        "Pixel-AP of attention heads and of the priors themselves as predictors; dot: mean over "
        "images, line: 95 % interval over resampled patients."
    )
    groups = group_attention_records(records, names[0] if names else "")
    path = folder / "pixel_ap.png"
    figures = [plot_intervals(path, "Attention as a locator", "pixel-AP", groups, caption)]
    localisations: dict[str, Any] = section.extra["localisations"]
    shown_names = [
        name for name in names if localisations.get(f"attention:{name}") and has_chosen_map(localisations, name)
    ]
    if not shown_names:
        return figures
    cases = select_best_median_worst(
        compute_nan_mean(np.stack(list(localisations[f"attention:{shown_names[0]}"].ap.values())))
    )
    for name in shown_names if cases else []:
        key = f"attention:{name}"
        source, localisation = section.extra["sources"][key], localisations[key]
        targets, path = section.extra["targets"], folder / f"attention_{name}.png"
        figures.append(plot_attention_maps(path, name, study.part, targets, source, localisation, cases))
    if cases and len(shown_names) > 1:
        sources, chosen = (
            {name: values[f"attention:{name}"] for name in shown_names}
            for values in (section.extra["sources"], localisations)
        )
        path = folder / "attention_compared.png"
        figures.append(
            plot_attention_comparison(path, study.part, section.extra["targets"], sources, chosen, cases["median"])
        )
    return figures


def has_chosen_map(localisations: dict[str, Any], name: str) -> bool:
    """Whether a backbone has a map for at least one structure."""
    return bool(localisations[f"attention:{name}"].chosen)


def plot_classification_figures(folder: Path, study: EvaluationStudy, section: Section) -> list[Figure | None]:
    """ROC, precision-recall and reliability figures."""
    labels, truth, scores = (section.extra[key] for key in ("labels", "truth", "scores"))
    return [
        plot_roc_pr_curves(folder / "roc.png", "roc", labels, truth, scores, study.draws),
        plot_roc_pr_curves(folder / "precision_recall.png", "pr", labels, truth, scores, study.draws),
        plot_reliability(folder / "reliability.png", labels, truth, scores, study),
    ]


def plot_segmentation_figures(
    folder: Path, study: EvaluationStudy, section: Section, inputs: Inputs
) -> list[Figure | None]:
    """Best, median and worst image with contours, and the Bland-Altman plot."""
    dice_columns = [v for name, v in section.columns.items() if name.startswith("dice_")]
    models = [entry for entry in inputs.models if entry.item.task == "segmentation"]
    if not dice_columns:
        return []
    dice = compute_nan_mean(np.stack(dice_columns))
    cases = select_best_median_worst(dice)
    if not cases:
        return []
    figures: list[Figure | None] = [plot_segmentation(folder / "segmentation.png", models, study.part, dice, cases)]
    name = models[0].name
    if "cardiothoracic.bias" in section.estimates:
        predicted, truth = section.extra["ratios"][name]
        path = folder / "bland_altman.png"
        figures.append(plot_bland_altman(path, name, predicted, truth, section.estimates))
    return figures
