"""Bland-Altman plot of the cardiothoracic ratio from predicted and true masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medprior.evaluate.report.style import Figure, open_figure, source_colour
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Estimate


def plot_bland_altman(path: Path, name: str, predicted: Array, truth: Array, estimates: dict[str, Estimate]) -> Figure:
    """Difference over mean of both ratios, with bias and limits of agreement and their intervals.

    Args:
        path: where to write.
        name: of the model.
        predicted: float64 [n], the ratios from the model's masks, NaN unknown.
        truth: float64 [n], those from the true masks.
        estimates: `cardiothoracic.*` of this model.
    """
    mean, difference = (predicted + truth) / 2, predicted - truth
    lines = {"bias": "-", "limit_low": "--", "limit_high": "--"}
    with open_figure(path, 1, 1, 5.2, 3.6) as (_, axes):
        axis = axes[0, 0]
        axis.axhline(0, color="0.8", linewidth=0.8)
        axis.scatter(mean, difference, s=9, alpha=0.6, linewidth=0, color=source_colour(2))
        for key, dash in lines.items():
            estimate = estimates[f"cardiothoracic.{key}"]
            low, high = estimate.interval()
            if np.isfinite([low, high]).all():
                axis.axhspan(low, high, color=source_colour(1), alpha=0.15, linewidth=0)
            axis.axhline(estimate.value, color=source_colour(0), linewidth=1, linestyle=dash)
            text = f"{estimate.value:+.3f}".replace("-", "\N{MINUS SIGN}")
            position = (1.01, estimate.value)
            axis.annotate(text, position, xycoords=("axes fraction", "data"), va="center", fontsize=8)
        axis.set_xlabel("mean of both cardiothoracic ratios")
        axis.set_ylabel("predicted − true")
        axis.set_title(name)
    count = int(np.isfinite(difference).sum())
    caption = (
        f"Bland and Altman's plot of {count} images: the ratio from the model's masks against that "
        "from the true masks. Full line: mean difference; dashed: limits between which 95 % of the "
        "differences lie; bands: their 95 % intervals over resampled patients."
    )
    return Figure(path, "Cardiothoracic ratio, agreement with the true masks", caption)
