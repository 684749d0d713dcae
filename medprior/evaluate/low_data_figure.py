"""Probe mAUC against the share of labelled training patients, one line per recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medprior.evaluate.figure_style import DASHES, Figure, colour, drawing

PROBES = {
    "linear_mauc": "linear probe",
    "pooled_linear_mauc": "linear probe, pooled tokens",
    "knn_mauc": "k nearest neighbours",
}


def percent(key: str) -> float:
    """The share in a key: `low_data.0p1pct.linear_mauc` is 0.1."""
    return float(key.split("low_data.")[1].partition("pct.")[0].replace("p", "."))


def draw_low_data(
    path: Path, metrics: Mapping[str, dict[str, Any]], recipes: Sequence[str]
) -> Figure | None:
    """One panel per probe; None with fewer than two shares."""
    leads = {recipe: f"baseline.{recipe}." if n else "" for n, recipe in enumerate(recipes)}
    leads["random weights"] = ""
    shares = {percent(key) for key in metrics if key.startswith("low_data.")}
    if len(shares) < 2:
        return None
    with drawing(path, 1, len(PROBES), 2.7 * len(PROBES), 2.7) as (figure, axes):
        for axis, (probe, title) in zip(axes[0], PROBES.items(), strict=True):
            for number, (name, lead) in enumerate(leads.items()):
                wanted = ("random_" if name == "random weights" else "") + probe
                start, end = f"{lead}low_data.", f"pct.{wanted}"
                keys = [k for k in metrics if k.startswith(start) and k.endswith(end)]
                keys = [k for k in keys if metrics[k]["value"] is not None]
                keys.sort(key=percent)
                x = [percent(key) for key in keys]
                records = [metrics[key] for key in keys]
                low = [record["ci95"][0] for record in records]
                high = [record["ci95"][1] for record in records]
                values = [record["value"] for record in records]
                dash = DASHES[number % len(DASHES)]
                axis.plot(x, values, color=colour(number), linestyle=dash, marker="o", label=name)
                axis.fill_between(x, low, high, color=colour(number), alpha=0.12, linewidth=0)
            axis.set(xscale="log", xlabel="labelled patients (%)", title=title)
        axes[0, 0].set_ylabel("mAUC")
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=len(names))
    caption = "Mean over seeds; bands: 95 % interval over resampled patients and seeds."
    return Figure(path, "Labels needed", caption)
