"""Reliability diagrams: predicted probability against observed frequency, per label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medprior.evaluate.report.style import LINE_STYLES, Figure, key_to_words, open_label_panels, source_colour
from medprior.evaluate.study import EvaluationStudy
from medprior.metrics.auc import Floats
from medprior.metrics.calibration import assign_bins, compute_reliability
from medprior.metrics.sensitivity import compute_wilson_rate

RELIABILITY_BINS = 10


def plot_reliability(
    path: Path, labels: list[str], truth: Floats, scores: Mapping[str, Floats], study: EvaluationStudy
) -> Figure:
    """One panel per label, one line per model, 95 % intervals on the first."""
    with open_label_panels(path, labels) as (figure, panels):
        for number, label in enumerate(labels):
            axis, label_truth = panels[number], truth[:, number]
            axis.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":")
            for index, (name, score) in enumerate(scores.items()):
                diagram = compute_reliability(label_truth, score[:, number], RELIABILITY_BINS)
                is_filled = diagram.count > 0
                axis.plot(
                    diagram.predicted[is_filled],
                    diagram.observed[is_filled],
                    color=source_colour(index),
                    linestyle=LINE_STYLES[index % len(LINE_STYLES)],
                    marker="o",
                    markersize=3,
                    linewidth=1.1,
                    label=name,
                )
            low, high, x = compute_bin_intervals(label_truth, next(iter(scores.values()))[:, number], study)
            axis.vlines(x, low, high, color=source_colour(0), linewidth=0.8, alpha=0.6)
            axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=key_to_words(label))
        figure.supxlabel("predicted probability", fontsize=9)
        figure.supylabel("share of positives", fontsize=9)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=min(len(names), 4))
    caption = (
        "Images in ten bins of predicted probability against the share that is positive; on the "
        "dotted line both agree. Bars: 95 % interval of the first model."
    )
    return Figure(path, "Reliability", caption)


def compute_bin_intervals(
    truth: Floats, score: Floats, study: EvaluationStudy
) -> tuple[list[float], list[float], Floats]:
    """Interval of the share of positives in every filled bin, and its mean probability."""
    bins, patients = assign_bins(truth, score, RELIABILITY_BINS), study.draws.patient
    filled = [number for number in range(RELIABILITY_BINS) if (bins == number).any()]
    rates = [compute_wilson_rate(truth[bins == number] == 1, patients[bins == number]) for number in filled]
    means = np.array([float(score[bins == number].mean()) for number in filled])
    return [rate.low for rate in rates], [rate.high for rate in rates], means
