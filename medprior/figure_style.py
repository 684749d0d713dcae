"""The one style of all figures, and how a finished figure is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medprior.figure_text import escape_figure_text
from medprior.provenance import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MATPLOTLIB_STYLE: dict[Any, Any] = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "svg.hashsalt": "medprior",
}


@contextmanager
def use_figure_style() -> Iterator[None]:
    """Plot and write figures of the block in the one style."""
    import matplotlib as mpl

    with mpl.rc_context(MATPLOTLIB_STYLE):
        yield


def save_figure(figure: Figure, path: Path, vector: bool = False) -> None:
    """Write a finished figure as PNG, and with `vector` as SVG beside it; equal figures give equal files."""
    escape_figure_text(figure)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": "medprior"})
    if vector:
        with atomic_write(path.with_suffix(".svg")) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": "medprior"})
