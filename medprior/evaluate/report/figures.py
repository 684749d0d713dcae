"""Every figure of an evaluation, in the order of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medprior.evaluate.inputs import Inputs
from medprior.evaluate.report.attention_figure import cases, draw_attention
from medprior.evaluate.report.bland_altman_figure import draw_bland_altman
from medprior.evaluate.report.external_figure import external_figures
from medprior.evaluate.report.failure_figure import failure_figures
from medprior.evaluate.report.finding_figure import finding_figures
from medprior.evaluate.report.interval_figure import draw_intervals
from medprior.evaluate.report.reliability_figure import draw_reliability
from medprior.evaluate.report.roc_pr_figures import draw_curves
from medprior.evaluate.report.rollout_figure import rollout_figures
from medprior.evaluate.report.segmentation_figure import draw_segmentation
from medprior.evaluate.report.style import Figure
from medprior.evaluate.report.summary import attention_groups
from medprior.evaluate.report.training_figure import draw_training
from medprior.evaluate.study import Section, Study
from medprior.metrics.bootstrap import quiet_mean


def draw_figures(
    folder: Path, study: Study, inputs: Inputs, sections: dict[str, Section]
) -> list[Figure]:
    """Draw what the sections have something to show for; PNG files in `folder`."""
    figures: list[Figure | None] = []
    if "attention" in sections:
        figures += attention_figures(folder, study, sections["attention"], inputs)
    if "classification" in sections:
        figures += classification_figures(folder, study, sections["classification"])
    if "localisation" in sections:
        figures += finding_figures(folder, sections["localisation"], inputs)
    if "segmentation" in sections:
        figures += segmentation_figures(folder, study, sections["segmentation"], inputs)
    figures += failure_figures(folder, study, inputs, sections)
    figures += external_figures(folder, sections)
    figures += rollout_figures(folder, study, inputs, sections)
    figures.append(draw_training(folder / "training_backbones.png", "backbone", inputs.backbones))
    for task in ("classification", "segmentation"):
        models = [named for named in inputs.models if named.item.task == task]
        figures.append(draw_training(folder / f"training_{task}.png", f"{task} model", models))
    return [figure for figure in figures if figure is not None]


def attention_figures(
    folder: Path, study: Study, section: Section, inputs: Inputs
) -> list[Figure | None]:
    """The headline of pixel-AP, then one figure of maps per backbone on the same images."""
    records = {key: estimate.record() for key, estimate in section.estimates.items()}
    names = [b.name for b in inputs.backbones]
    caption = (
        "Pixel-AP of attention heads and of the priors themselves as predictors; dot: mean over "
        "images, line: 95 % interval over resampled patients."
    )
    groups = attention_groups(records, names[0] if names else "")
    path = folder / "pixel_ap.png"
    figures = [draw_intervals(path, "Attention as a locator", "pixel-AP", groups, caption)]
    found: dict[str, Any] = section.extra["found"]
    leads = [name for name in names if found.get(f"attention:{name}") and chosen(found, name)]
    if not leads:
        return figures
    picked = cases(quiet_mean(np.stack(list(found[f"attention:{leads[0]}"].ap.values()))))
    for name in leads if picked else []:
        key = f"attention:{name}"
        source, one = section.extra["sources"][key], found[key]
        wanted, path = section.extra["targets"], folder / f"attention_{name}.png"
        figures.append(draw_attention(path, name, study.part, wanted, source, one, picked))
    return figures


def chosen(found: dict[str, Any], name: str) -> bool:
    """Whether a backbone has a map for at least one structure."""
    return bool(found[f"attention:{name}"].chosen)


def classification_figures(folder: Path, study: Study, section: Section) -> list[Figure | None]:
    """ROC, precision-recall, reliability."""
    labels, truth, scores = (section.extra[key] for key in ("labels", "truth", "scores"))
    return [
        draw_curves(folder / "roc.png", "roc", labels, truth, scores, study.draws),
        draw_curves(folder / "precision_recall.png", "pr", labels, truth, scores, study.draws),
        draw_reliability(folder / "reliability.png", labels, truth, scores, study),
    ]


def segmentation_figures(
    folder: Path, study: Study, section: Section, inputs: Inputs
) -> list[Figure | None]:
    """Best, median and worst image with contours; agreement of the cardiothoracic ratio."""
    own = [v for name, v in section.columns.items() if name.startswith("dice_")]
    models = [named for named in inputs.models if named.item.task == "segmentation"]
    if not own:
        return []
    dice = quiet_mean(np.stack(own))
    picked = cases(dice)
    if not picked:
        return []
    figures: list[Figure | None] = [
        draw_segmentation(folder / "segmentation.png", models, study.part, dice, picked)
    ]
    name = models[0].name
    if "cardiothoracic.bias" in section.estimates:
        predicted, truth = section.extra["ratios"][name]
        path = folder / "bland_altman.png"
        figures.append(draw_bland_altman(path, name, predicted, truth, section.estimates))
    return figures
