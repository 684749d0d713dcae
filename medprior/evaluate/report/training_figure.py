"""Training curves of every backbone and model, from the `metrics.csv` each left behind."""

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
    """Name -> table of its training, for those that have one."""
    found = {}
    for named in group:
        path = named.path / "metrics.csv"
        if path.is_file():
            found[named.name] = pd.read_csv(path)
    return found


def plot_training_curves(path: Path, kind: str, group: Sequence[NamedInput[Any]]) -> Figure | None:
    """One panel per quantity that at least one run recorded more than once; None without any."""
    tables = load_training_curves(group)
    every = dict.fromkeys(name for table in tables.values() for name in table.columns)
    wanted = [
        name
        for name in every
        if name not in (*STEP_COLUMNS, *HIDDEN_COLUMNS)
        and any(name in t and t[name].nunique() > 1 for t in tables.values())
    ][:MAX_PANELS]
    if not wanted:
        return None
    columns = min(len(wanted), 3)
    rows = -(-len(wanted) // columns)
    with open_figure(path, rows, columns, 2.6 * columns, 2.0 * rows + 0.4) as (figure, axes):
        for axis in axes.ravel()[len(wanted) :]:
            axis.set_visible(False)
        for axis, quantity in zip(axes.ravel(), wanted, strict=False):
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
    """One quantity of every run."""
    unit = " (nats)" if quantity in NATS_COLUMNS else ""
    axis.set_title(key_to_words(quantity) + unit)
    for number, (name, table) in enumerate(tables.items()):
        step = next((s for s in STEP_COLUMNS if s in table), None)
        if quantity not in table:
            continue
        known = table[table[quantity].notna()]
        x = known[step] if step else known.index
        dash = LINE_STYLES[number % len(LINE_STYLES)]
        axis.plot(x, known[quantity], color=source_colour(number), linestyle=dash, label=name)
        axis.set_xlabel(step or "row")
