"""Training curves of every backbone and model, from their `metrics.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medprior.evaluate.inputs import NamedInput
from medprior.evaluate.report.style import LINE_STYLES, Figure, key_to_words, open_figure, source_colour

HIDDEN_COLUMNS = ("seed", "images_per_second", "data_wait", "seconds", "lr", "skipped")
MAX_PANELS = 9
STEP_COLUMNS = ("step", "epoch")
NATS_COLUMNS = ("teacher_entropy", "mean_entropy")


def load_training_curves(group: Sequence[NamedInput[Any]]) -> dict[str, pd.DataFrame]:
    """Name -> table of `metrics.csv`, for results that have one."""
    tables = {}
    for entry in group:
        path = entry.path / "metrics.csv"
        if path.is_file():
            tables[entry.name] = pd.read_csv(path)
    return tables


def plot_training_curves(path: Path, kind: str, group: Sequence[NamedInput[Any]]) -> Figure | None:
    """One panel per quantity with more than one value in any run; None without any."""
    tables = load_training_curves(group)
    recorded = dict.fromkeys(name for table in tables.values() for name in table.columns)
    quantities = [
        name
        for name in recorded
        if name not in (*STEP_COLUMNS, *HIDDEN_COLUMNS)
        and any(name in table and table[name].nunique() > 1 for table in tables.values())
    ][:MAX_PANELS]
    if not quantities:
        return None
    columns = min(len(quantities), 3)
    rows = -(-len(quantities) // columns)
    with open_figure(path, rows, columns, 2.6 * columns, 2.0 * rows + 0.4) as (figure, axes):
        for axis in axes.ravel()[len(quantities) :]:
            axis.set_visible(False)
        for axis, quantity in zip(axes.ravel(), quantities, strict=False):
            plot_training_quantity(axis, quantity, tables)
        lines = {
            name: handle
            for axis in axes.ravel()
            for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=4)
    caption = f"What {', '.join(tables)} recorded while training, from metrics.csv."
    return Figure(path, f"Training of the {kind}s", caption)


def plot_training_quantity(axis: Any, quantity: str, tables: dict[str, pd.DataFrame]) -> None:
    """Curve of one quantity for every run."""
    unit = " (nats)" if quantity in NATS_COLUMNS else ""
    axis.set_title(key_to_words(quantity) + unit)
    for number, (name, table) in enumerate(tables.items()):
        step = next((column for column in STEP_COLUMNS if column in table), None)
        if quantity not in table:
            continue
        recorded = table[table[quantity].notna()]
        x = recorded[step] if step else recorded.index
        dash = LINE_STYLES[number % len(LINE_STYLES)]
        axis.plot(x, recorded[quantity], color=source_colour(number), linestyle=dash, label=name)
        axis.set_xlabel(step or "row")
