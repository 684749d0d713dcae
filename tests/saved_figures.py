"""Figures as they are when they are saved, for tests of what is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from matplotlib.figure import Figure


@contextmanager
def keep_saved_figures() -> Iterator[list[Figure]]:
    """Every figure that is saved in the block, once, in order, with the stem of its file as label.

    The files are written as usual.
    """
    saved: list[Figure] = []
    save = Figure.savefig

    def save_and_keep(figure, path, **options):
        figure.set_label(Path(path).name.lstrip(".").partition(".")[0])
        if figure not in saved:
            saved.append(figure)
        return save(figure, path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_and_keep)
        yield saved
