"""Plots the training curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from medprior.figure_style import save_figure, use_figure_style


def plot_training_curve(path: Path, rows: Sequence[dict[str, float]], best_epoch: int) -> None:
    """Plot losses and key metric by epoch, the kept epoch marked; distinguishable without colour."""
    key = next(name for name in rows[0] if name.startswith("val_") and name != "val_loss")
    with use_figure_style():
        figure = Figure(figsize=(5.6, 2.4), layout="constrained")
        plot_curve_panels(figure, rows, key, best_epoch)
        save_figure(figure, path)


def plot_curve_panels(figure: Figure, rows: Sequence[dict[str, float]], key: str, best_epoch: int) -> None:
    """Plot losses on the left and the key metric on the right."""
    epochs = [row["epoch"] for row in rows]
    left, right = figure.subplots(1, 2)
    for name, style in (("train_loss", "-"), ("val_loss", "--")):
        left.plot(epochs, [row[name] for row in rows], style, label=name.replace("_", " "))
    left.set(xlabel="epoch", ylabel="loss")
    right.plot(epochs, [row[key] for row in rows], "-", color="black")
    right.set(xlabel="epoch", ylabel=key.removeprefix("val_").replace("_", " ") + " (validation)")
    for axis in (left, right):
        axis.axvline(best_epoch, linestyle=":", color="grey", label=f"kept: epoch {best_epoch}")
        axis.grid(alpha=0.3)
    left.legend()
