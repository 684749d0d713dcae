"""Figures as they are when they are saved, for tests of what is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from matplotlib.figure import Figure


@contextmanager
def keep_saved_figures() -> Iterator[list[Figure]]:
    """Every figure that is saved in the block, in order; the files are written as usual."""
    saved: list[Figure] = []
    save = Figure.savefig

    def save_and_keep(figure, *arguments, **options):
        saved.append(figure)
        return save(figure, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_and_keep)
        yield saved
