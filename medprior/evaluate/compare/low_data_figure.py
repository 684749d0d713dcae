"""Low-data figure: metrics against the share of labelled patients or number of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medprior.evaluate.compare.low_data import LOW_DATA_MEASURES, list_measured_budgets, parse_budget_amount
from medprior.evaluate.report.style import LINE_STYLES, Figure, open_figure, source_colour
from medprior.evaluate.report.summary import list_arm_prefixes

RANDOM_WEIGHTS = "random weights"
LowDataPanel = tuple[str, str, list[str]]


def list_low_data_panels(metrics: Mapping[str, dict[str, Any]]) -> list[LowDataPanel]:
    """(measure, axis, budgets) of every measure with two budgets or more."""
    axes = {"labelled patients (%)": False, "masks": True}
    panels = [
        (measure, axis, list_measured_budgets(metrics, measure, masks))
        for measure in LOW_DATA_MEASURES
        for axis, masks in axes.items()
    ]
    return [panel for panel in panels if len(panel[2]) > 1]


def plot_low_data(path: Path, metrics: Mapping[str, dict[str, Any]], recipes: Sequence[str]) -> Figure | None:
    """One panel per measure and axis; None with fewer than two budgets."""
    panels = list_low_data_panels(metrics)
    if not panels:
        return None
    arms = list_arm_prefixes(recipes) | {RANDOM_WEIGHTS: ""}
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with open_figure(path, rows, columns, 2.7 * columns, 2.5 * rows + 0.4) as (figure, axes):
        handles: dict[str, Any] = {}
        for axis, panel in zip(axes.flat, panels, strict=False):
            for number, (name, prefix) in enumerate(arms.items()):
                line = plot_arm_line(axis, metrics, panel, prefix, name, number)
                if line is not None:
                    handles.setdefault(name, line)
            title, _, unit = LOW_DATA_MEASURES[panel[0]].rpartition(", ")
            axis.set(xscale="log", xlabel=panel[1], title=title, ylabel=unit)
            ticks = [parse_budget_amount(budget) for budget in panel[2]]
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_xticks([], minor=True)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        figure.legend(handles.values(), handles, loc="outside upper center", ncols=min(4, len(handles)))
    caption = "Mean over seeds; bands: 95 % interval over resampled patients and seeds."
    return Figure(path, "Labels and masks needed", caption)


def plot_arm_line(
    axis: Any, metrics: Mapping[str, dict[str, Any]], panel: LowDataPanel, prefix: str, name: str,
    number: int,
) -> Any:  # fmt: skip
    """The line of one arm with its band; None if nothing is measured."""
    measure, _, budgets = panel
    key = ("random_" if name == RANDOM_WEIGHTS else "") + measure
    records = {parse_budget_amount(budget): metrics.get(f"{prefix}low_data.{budget}.{key}") for budget in budgets}
    measured = {
        amount: record for amount, record in records.items() if record is not None and record["value"] is not None
    }
    if not measured:
        return None
    dash, shade = LINE_STYLES[number % len(LINE_STYLES)], source_colour(number)
    values = [record["value"] for record in measured.values()]
    (line,) = axis.plot(list(measured), values, color=shade, linestyle=dash, marker="o", label=name)
    bands = {amount: record["ci95"] for amount, record in measured.items() if None not in record["ci95"]}
    low, high = ([bounds[side] for bounds in bands.values()] for side in (0, 1))
    axis.fill_between(list(bands), low, high, color=shade, alpha=0.12, linewidth=0)
    return line
