"""The description of a run or of a model version as Markdown: results, origin, one chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medprior.metrics.headlines import select_headline_metrics

DESCRIPTION_TAG = "mlflow.note.content"
RESEARCH_LINE = "For research; not for diagnosis."
LEADING_CHARTS = ("pixel_ap.png", "roc.png", "bland_altman.png", "low_data.png", "training.png")
SHORT_DIGEST = 12


def format_run_summary(
    title: str, metrics: Mapping[str, float], inputs: Mapping[str, str], run_id: str = "", chart: str = ""
) -> str:
    """A Markdown description.

    Args:
        title: first line.
        metrics: name -> value, the headline metrics of which are shown; `NAME.lo` and `NAME.hi` are the ends of an
            interval.
        inputs: what it was made from: name -> digest.
        run_id: run that has the chart.
        chart: path of the chart among the run's artifacts; '' without one.
    """
    parts = [f"**{title}**", RESEARCH_LINE]
    names = [name for name in select_headline_metrics(metrics) if name.rpartition(".")[2] not in {"lo", "hi"}]
    if names:
        rows = [format_metric_row(name, metrics) for name in names]
        parts.append("\n".join(["| metric | value | 95 % interval |", "|---|---|---|", *rows]))
    if inputs:
        origins = ", ".join(f"{name} `{digest[:SHORT_DIGEST]}`" for name, digest in inputs.items())
        parts.append(f"Made from {origins}.")
    if chart:
        parts.append(f"![{Path(chart).stem.replace('_', ' ')}](get-artifact?path={chart}&run_uuid={run_id})")
    return "\n\n".join(parts)


def format_metric_row(name: str, metrics: Mapping[str, float]) -> str:
    """A line of the table; the interval is empty where it is unknown."""
    low, high = metrics.get(f"{name}.lo"), metrics.get(f"{name}.hi")
    interval = "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"
    return f"| {name} | {metrics[name]:.4g} | {interval} |"


def choose_leading_chart(names: Sequence[str]) -> str:
    """Name of the chart that a description shows, among logged files; '' where there is none."""
    return next((name for name in LEADING_CHARTS if name in names), "")
