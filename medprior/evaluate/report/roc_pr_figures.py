"""ROC and precision-recall curves per label, with 95 % bands of the patient-level bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medprior.evaluate.report.style import LINE_STYLES, Figure, key_to_words, open_label_panels, source_colour
from medprior.metrics.auc import Array, Floats
from medprior.metrics.bootstrap import Resamples

CURVE_GRID = np.linspace(0, 1, 101)
BAND_RESAMPLES = 200
CurveBand = tuple[Array, Array, Array, Array]  # grid, curve, low, high


def compute_weighted_curve(truth: Floats, score: Floats, weight: Floats, kind: str) -> Array:
    """A weighted curve on `CURVE_GRID`: "roc" or "pr".

    Sensitivity at each false-positive rate, or precision at each sensitivity by the step rule.

    Shape:
        truth [n] of 0 and 1, score and weight [n] -> float64 [101], NaN if a class is missing.
    """
    if not len(score):
        return np.full(len(CURVE_GRID), np.nan)
    order = np.argsort(-score, kind="stable")
    true_positives = np.cumsum((weight * (truth == 1))[order], dtype=np.float64)
    false_positives = np.cumsum((weight * (truth == 0))[order], dtype=np.float64)
    tie_ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true_positives, false_positives = true_positives[tie_ends], false_positives[tie_ends]
    if true_positives[-1] == 0 or false_positives[-1] == 0:
        return np.full(len(CURVE_GRID), np.nan)
    if kind == "roc":
        x, y = np.append(0, false_positives / false_positives[-1]), np.append(0, true_positives / true_positives[-1])
        return np.interp(CURVE_GRID, x, np.maximum.accumulate(y))
    has_hits = true_positives > 0
    true_positives, false_positives = true_positives[has_hits], false_positives[has_hits]
    recall, precision = true_positives / true_positives[-1], true_positives / (true_positives + false_positives)
    step = np.minimum(np.searchsorted(recall, CURVE_GRID - 1e-12), len(recall) - 1)
    return np.asarray(precision[step])


def compute_curve_band(truth: Floats, score: Floats, draws: Resamples, kind: str) -> CurveBand:
    """The curve with percentile bounds over the first 200 resamples."""
    is_known = ~np.isnan(truth)
    known_truth, known_score = truth[is_known], score[is_known]
    curve = compute_weighted_curve(known_truth, known_score, np.ones(len(known_truth)), kind)
    blocks = np.concatenate(draws.blocks, axis=1)[:, :BAND_RESAMPLES]
    weights = blocks[draws.patient[is_known]]
    curves = np.stack([compute_weighted_curve(known_truth, known_score, weight, kind) for weight in weights.T])
    curves = curves[~np.isnan(curves).any(axis=1)]
    if not len(curves):
        return CURVE_GRID, curve, curve, curve
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    return CURVE_GRID, curve, low, high


def plot_roc_pr_curves(
    path: Path,
    kind: str,
    labels: list[str],
    truth: Floats,
    scores: Mapping[str, Floats],
    draws: Resamples,
) -> Figure:
    """One panel per label, one line per model, a band for the first."""
    with open_label_panels(path, labels) as (figure, panels):
        for number, label in enumerate(labels):
            axis = panels[number]
            label_truth = truth[:, number]
            for index, (name, score) in enumerate(scores.items()):
                plot_curve_band(axis, compute_curve_band(label_truth, score[:, number], draws, kind), index, name)
            prevalence = float(np.nanmean(label_truth)) if (~np.isnan(label_truth)).any() else 0.0
            chance = ([0, 1], [0, 1]) if kind == "roc" else ([0, 1], [prevalence, prevalence])
            axis.plot(*chance, color="0.6", linewidth=0.8, linestyle=":")
            title = f"{key_to_words(label)}\n{int((label_truth == 1).sum())} of {int((~np.isnan(label_truth)).sum())}"
            axis.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal", title=title)
        roc = kind == "roc"
        figure.supxlabel("1 - specificity" if roc else "sensitivity (recall)", fontsize=9)
        figure.supylabel("sensitivity" if roc else "precision", fontsize=9)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=min(len(names), 4))
    curve_name = "ROC" if kind == "roc" else "Precision-recall"
    caption = (
        f"{curve_name} curve per label, positives and known images above it. The band is the 95 % "
        "interval of the first model over resampled patients; the dotted line is chance."
    )
    return Figure(path, f"{curve_name} curves", caption)


def plot_curve_band(axis: Any, band: CurveBand, index: int, name: str) -> None:
    """One model's curve, the first with its band."""
    grid, curve, low, high = band
    dash = LINE_STYLES[index % len(LINE_STYLES)]
    axis.plot(grid, curve, color=source_colour(index), linestyle=dash, linewidth=1.3, label=name)
    if index == 0:
        axis.fill_between(grid, low, high, color=source_colour(index), alpha=0.18, linewidth=0)
