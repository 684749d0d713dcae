"""Figures of a report: a colour-blind safe palette, and axes in the style of all figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medprior.figure_style import save_figure, use_figure_style
from medprior.palette import BLACK, DARK_BLUE, GREEN, ORANGE, PINK, SKY_BLUE, VERMILION

# Okabe and Ito (2008): black for the primary result; without yellow, unreadable on paper.
PALETTE = (BLACK, ORANGE, DARK_BLUE, GREEN, PINK, VERMILION, SKY_BLUE)
LINE_STYLES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Figure:
    """A saved figure: its file, title, and a caption that says how to read it."""

    path: Path
    title: str
    caption: str


@contextmanager
def open_figure(path: Path, rows: int, columns: int, width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes [rows, columns]; saved to `path`, and as SVG beside it, when the block ends.

    Units:
        width and height of the whole figure in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with use_figure_style():
        figure = Canvas(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
        yield figure, axes
        save_figure(figure, path, vector=True)


@contextmanager
def open_label_panels(path: Path, labels: Sequence[str]) -> Iterator[tuple[Any, Any]]:
    """A figure as of `open_figure`, and one square panel for each label, at most four in a row."""
    columns = min(len(labels), 4)
    rows = -(-len(labels) // columns)
    with open_figure(path, rows, columns, max(2.1 * columns + 0.3, 3.2), 2.1 * rows + 0.6) as (figure, axes):
        for axis in axes.ravel()[len(labels) :]:
            axis.set_visible(False)
        yield figure, axes.ravel()[: len(labels)]


def source_colour(number: int) -> str:
    """Colour of the source with this number; the primary one is 0."""
    return PALETTE[number % len(PALETTE)]


def key_to_words(name: str) -> str:
    """A key's part as words: `left_lung` becomes "left lung"."""
    return name.replace("_", " ")
