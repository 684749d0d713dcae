"""Training curves of every backbone and model, from the `metrics.csv` each left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medprior.evaluate.inputs import Named
from medprior.evaluate.report.style import DASHES, Figure, colour, drawing, spoken

HIDDEN = ("seed", "images_per_second", "data_wait", "seconds", "lr", "skipped")
MOST_PANELS = 9
STEPS = ("step", "epoch")
NATS = ("teacher_entropy", "mean_entropy")


def curves_of(group: Sequence[Named[Any]]) -> dict[str, pd.DataFrame]:
    """Name -> table of its training, for those that have one."""
    found = {}
    for named in group:
        path = named.path / "metrics.csv"
        if path.is_file():
            found[named.name] = pd.read_csv(path)
    return found


def draw_training(path: Path, kind: str, group: Sequence[Named[Any]]) -> Figure | None:
    """One panel per quantity that at least one run recorded more than once; None without any."""
    tables = curves_of(group)
    every = dict.fromkeys(name for table in tables.values() for name in table.columns)
    wanted = [
        name
        for name in every
        if name not in (*STEPS, *HIDDEN)
        and any(name in t and t[name].nunique() > 1 for t in tables.values())
    ][:MOST_PANELS]
    if not wanted:
        return None
    columns = min(len(wanted), 3)
    rows = -(-len(wanted) // columns)
    with drawing(path, rows, columns, 2.6 * columns, 2.0 * rows + 0.4) as (figure, axes):
        for axis in axes.ravel()[len(wanted) :]:
            axis.set_visible(False)
        for axis, quantity in zip(axes.ravel(), wanted, strict=False):
            plot(axis, quantity, tables)
        lines = {
            name: handle
            for axis in axes.ravel()
            for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=4)
    caption = f"What {', '.join(tables)} recorded while training, from metrics.csv."
    return Figure(path, f"Training of the {kind}s", caption)


def plot(axis: Any, quantity: str, tables: dict[str, pd.DataFrame]) -> None:
    """One quantity of every run."""
    unit = " (nats)" if quantity in NATS else ""
    axis.set_title(spoken(quantity) + unit)
    for number, (name, table) in enumerate(tables.items()):
        step = next((s for s in STEPS if s in table), None)
        if quantity not in table:
            continue
        known = table[table[quantity].notna()]
        x = known[step] if step else known.index
        dash = DASHES[number % len(DASHES)]
        axis.plot(x, known[quantity], color=colour(number), linestyle=dash, label=name)
        axis.set_xlabel(step or "row")
