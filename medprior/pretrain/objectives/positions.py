"""Positions of one view's patches in another: LOCA's targets, from geometry alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.geometry import Views

OUTSIDE_CELL = -1


def locate_patches(reference: Views, queries: Views) -> NDArray[np.int64]:
    """The reference's cell that holds the centre of each query patch (arXiv 2212.02400).

    Args:
        reference: V views.
        queries: V views of the same sources, one for each reference.

    Returns:
        int64 [V, n]: raster index of the cell, -1 where the centre lies outside the reference.
    """
    rows, columns = reference.grid
    centres = queries.patch_centres()
    corner, side = reference.box[:, None, :2], reference.box[:, None, 2:]
    cell = np.floor((centres - corner) / side * (rows, columns)).astype(np.int64)
    inside = ((cell >= 0) & (cell < (rows, columns))).all(-1)
    column = np.where(reference.flip[:, None], columns - 1 - cell[..., 1], cell[..., 1])
    return np.where(inside, cell[..., 0] * columns + column, OUTSIDE_CELL)


def sample_visible_patches(
    rng: np.random.Generator, images: int, patches: int, share: float, pattern: str
) -> NDArray[np.int64]:
    """The reference patches that are visible to the queries.

    Args:
        rng: random numbers of this step.
        images: number of references.
        patches: N of each.
        share: of them that is visible, at least one.
        pattern: `consecutive` in raster order from a random start, which may wrap around the ends of rows (confirmed),
            or `random`.

    Returns:
        int64 [images, max(1, floor(share * N))].
    """
    count = max(1, int(share * patches))
    if pattern == "consecutive":
        start = rng.integers(0, patches - count + 1, images)
        return start[:, None] + np.arange(count)
    return rng.permuted(np.tile(np.arange(patches), (images, 1)), axis=1)[:, :count]
