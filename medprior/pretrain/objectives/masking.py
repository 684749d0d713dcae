"""Block masks of the student's global views, sampled per step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.pretrain.objectives.objective_settings import IbotSettings

MAX_ATTEMPTS = 10
MIN_BLOCK_PATCHES = 4

BoolArray = NDArray[np.bool_]


def sample_patch_masks(
    rng: np.random.Generator, views: int, grid: tuple[int, int], settings: IbotSettings
) -> BoolArray:
    """Masks of a step's global views.

    A share `probability` of the views is masked, each by a ratio from its own slice of `ratio`, so that the ratios of a
    batch are evenly spread (confirmed in DINOv2's code).

    Returns:
        bool [views, rows * columns].
    """
    masked = round(views * settings.probability)
    edges = np.linspace(*settings.ratio, masked + 1)
    masks = np.zeros((views, grid[0] * grid[1]), dtype=bool)
    masked_views = rng.permutation(views)[:masked]
    for view, low, high in zip(masked_views, edges[:-1], edges[1:], strict=True):
        count = round(rng.uniform(low, high) * masks.shape[1])
        masks[view] = sample_block_mask(rng, count, grid, settings.aspect).ravel()
    return masks


def sample_block_mask(rng: np.random.Generator, count: int, grid: tuple[int, int], aspect: float) -> BoolArray:
    """A mask of exactly `count` patches made of rectangles (BEiT; Bao et al. 2022).

    Rectangles have an area of at least 4 patches and a log-uniform height / width in [aspect, 1 / aspect]. What no
    further rectangle fits is filled with single patches (our choice; the authors leave it open).

    Returns:
        bool [rows, columns].
    """
    mask = np.zeros(grid, dtype=bool)
    while (remaining := count - int(mask.sum())) > 0:
        if not add_block(rng, mask, remaining, aspect):
            free = np.flatnonzero(~mask)
            mask.flat[rng.permutation(free)[:remaining]] = True
    return mask


def add_block(rng: np.random.Generator, mask: BoolArray, remaining: int, aspect: float) -> bool:
    """Add one rectangle that masks between 1 and `remaining` further patches; False where none fits."""
    rows, columns = mask.shape
    for _ in range(MAX_ATTEMPTS):
        area = rng.uniform(min(MIN_BLOCK_PATCHES, remaining), remaining)
        spread = abs(np.log(aspect))  # of an aspect of 1 the logarithm's negative is -0.0, which no range may end at
        ratio = np.exp(rng.uniform(-spread, spread))
        height, width = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if not (1 <= height <= rows and 1 <= width <= columns):
            continue
        y, x = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
        block = mask[y : y + height, x : x + width]
        if 0 < np.count_nonzero(~block) <= remaining:
            block[:] = True
            return True
    return False
