"""Interval figure: the numbers of every source with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medprior.evaluate.report.style import PALETTE, Figure, key_to_words, open_figure, source_colour

MetricRecord = Mapping[str, Any]


def plot_intervals(
    path: Path,
    title: str,
    quantity: str,
    groups: Sequence[tuple[str, Mapping[str, MetricRecord]]],
    caption: str,
) -> Figure | None:
    """Dots with whiskers, one row per source in each group; with many sources a panel per group.

    Args:
        path: where to write.
        title: of the figure.
        quantity: named on the axis.
        groups: (group name, source name -> record of `metrics.json`).
        caption: how to read it.
    """
    groups = [
        (name, {source: record for source, record in rows.items() if record["value"] is not None})
        for name, rows in groups
    ]
    groups = [(name, rows) for name, rows in groups if rows]
    if not groups:
        return None
    sources = list(dict.fromkeys(source for _, rows in groups for source in rows))
    if len(sources) > len(PALETTE):
        plot_interval_panels(path, quantity, groups, sources)
        return Figure(path, title, caption)
    height = 0.22 * sum(len(rows) + 1 for _, rows in groups) + 0.9
    with open_figure(path, 1, 1, 5.6, height) as (figure, axes):
        axis, y, ticks = axes[0, 0], 0.0, []
        for name, rows in groups:
            start = y
            for source, record in rows.items():
                plot_whisker(axis, record, y, source_colour(sources.index(source)))
                y -= 1
            ticks.append(((start + y + 1) / 2, key_to_words(name)))
            y -= 1
        axis.set_yticks([position for position, _ in ticks], [name for _, name in ticks])
        axis.set(xlabel=quantity, xlim=(-0.02, 1.02), ylim=(y + 0.5, 1))
        axis.grid(axis="x", color="0.9", linewidth=0.6)
        handles = [axis.plot([], [], "o", color=source_colour(i), ms=4)[0] for i in range(len(sources))]
        figure.legend(handles, sources, loc="outside upper center", ncols=min(4, len(sources)))
    return Figure(path, title, caption)


def plot_interval_panels(
    path: Path,
    quantity: str,
    groups: Sequence[tuple[str, Mapping[str, MetricRecord]]],
    sources: Sequence[str],
) -> None:
    """A panel per group and a named row per source, for more sources than colours."""
    width, height = 1.6 + 1.5 * len(groups), 0.2 * len(sources) + 0.8
    with open_figure(path, 1, len(groups), width, height) as (figure, axes):
        for number, (axis, (name, rows)) in enumerate(zip(axes[0], groups, strict=True)):
            for row, source in enumerate(sources):
                if source in rows:
                    plot_whisker(axis, rows[source], -row, source_colour(0 if row else 1))
            labels = sources if number == 0 else [""] * len(sources)
            axis.set_yticks([-row for row in range(len(sources))], labels)
            axis.set(title=key_to_words(name), xlim=(-0.02, 1.02), ylim=(0.6 - len(sources), 0.6))
            axis.grid(color="0.9", linewidth=0.6)
        figure.supxlabel(quantity, fontsize="medium")


def plot_whisker(axis: Any, record: MetricRecord, y: float, shade: str) -> None:
    """One value with its interval, if it has one."""
    low, high = record["ci95"]
    if low is not None and high is not None:
        axis.plot([low, high], [y, y], color=shade, linewidth=1.2)
    axis.plot([record["value"]], [y], "o", color=shade, markersize=4)
