"""Training curves of every backbone and model, from the `metrics.csv` each left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medprior.evaluate.figure_style import DASHES, Figure, colour, drawing, spoken
from medprior.evaluate.inputs import Named

SHOWN = {
    "backbone": ("loss", "dino", "span", "koleo", "teacher_entropy", "mean_entropy", "feature_std"),
    "model": ("train_loss", "loss", "val_loss", "mauc", "map", "mean_dice"),
}
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
    wanted = [name for name in SHOWN[kind] if name in every]
    wanted = wanted or [name for name in every if name not in STEPS][:6]
    wanted = [
        name
        for name in wanted
        if any(name in t and t[name].notna().sum() > 1 for t in tables.values())
    ]
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
    names = ", ".join(tables)
    return Figure(path, f"Training of the {kind}s", f"Training of {names}, from metrics.csv.")


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
