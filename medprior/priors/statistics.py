"""Lungs and heart from what a cohort's pictures have in common: no label at all.

The outline is methods' usual one: mean, deviation and edges over the cohort, the lungs as the two
dark basins of the mean picture, the heart as the lower part of what lies between them. How the
basins are found is our choice: the mean picture's holes are filled as grey levels, which needs no
threshold between body and background and works on collimated pictures too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medprior.cohort import Cohort
from medprior.errors import MedpriorError
from medprior.priors.moments import Moments, streamed
from medprior.priors.settings import StatisticsSettings

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
NAMES = ("left_lung", "right_lung", "heart")


def cohort_moments(cohort: Cohort, settings: StatisticsSettings) -> Moments:
    """Statistics of the training images of a cohort on unit squares."""
    squares = cohort.split("train").squares(settings.size)

    def batches() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(squares), settings.batch):
            yield np.asarray(squares[start : start + settings.batch])

    return streamed(batches())


def regions(moments: Moments, settings: StatisticsSettings) -> dict[str, Mask]:
    """Lungs and heart of the mean picture: bool [n, n] each, named by `NAMES`.

    Raises:
        MedpriorError: the mean picture has no two basins side by side.
    """
    smooth = ndimage.gaussian_filter(moments.mean, 0.01 * len(moments.mean))
    depth = basin_depth(smooth)
    axis = midline(smooth, depth)
    left, right = (basin(depth, axis, side) for side in (1, -1))
    if left is None or right is None:
        raise MedpriorError(
            "no two lungs stand out in the mean of the training images",
            where="--method statistics",
            expected="frontal chest radiographs, upright, air dark",
            fix="look at the cohort's contact sheet, or use --annotation",
        )
    return {"left_lung": left, "right_lung": right, "heart": heart(left, right, settings)}


def basin_depth(mean: Array) -> Array:
    """How far each pixel lies below the lowest rim that parts it from the border."""
    from skimage.morphology import reconstruction

    seed = mean.copy()
    seed[1:-1, 1:-1] = mean.max()
    filled = reconstruction(seed, mean, method="erosion")  # type: ignore[no-untyped-call]
    return np.asarray(filled - mean)


def midline(mean: Array, depth: Array) -> int:
    """Column about which the central part of the mean picture is most symmetric."""
    size = len(mean)
    rows = slice(size // 4, 3 * size // 4)
    columns = np.arange(int(0.4 * size), int(0.6 * size) + 1)
    reach = int(0.35 * size)
    cost = []
    for column in columns:
        picture = (mean - depth)[rows]
        left, right = picture[:, column - reach : column], picture[:, column : column + reach]
        cost.append(float(np.abs(left - right[:, ::-1]).mean()))
    return int(columns[int(np.argmin(cost))])


def basin(depth: Array, axis: int, side: int) -> Mask | None:
    """The largest deep region on one side of the midline: 1 the picture's right, -1 its left."""
    from skimage.filters import threshold_otsu

    columns = np.arange(depth.shape[1])
    here = np.where((columns - axis) * side > 0, depth, 0)
    deep = here[here > 1e-3]
    if not len(deep):
        return None
    level = 0.5 * float(threshold_otsu(deep))  # type: ignore[no-untyped-call]
    labelled, count = ndimage.label(here > level)
    if not count:
        return None
    sizes = np.bincount(labelled.ravel())[1:]
    region = ndimage.binary_fill_holes(labelled == 1 + int(sizes.argmax()))
    return np.asarray(region) if region.mean() > 0.02 else None


def heart(left: Mask, right: Mask, settings: StatisticsSettings) -> Mask:
    """What lies between the lungs, in the lower part of their height."""
    from skimage.morphology import convex_hull_image

    hull = convex_hull_image(left | right)  # type: ignore[no-untyped-call]
    between = np.asarray(hull) & ~left & ~right
    rows = np.flatnonzero((left | right).any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1])
    first = round(bottom - settings.heart_share * (bottom - top))
    between[:first] = False
    columns = np.arange(between.shape[1])
    inner = [np.flatnonzero(lung[first:].any(axis=0)).mean() for lung in (right, left)]
    between &= (columns > inner[0]) & (columns < inner[1])
    labelled, count = ndimage.label(between)
    if count < 2:
        return between
    sizes = np.bincount(labelled.ravel())[1:]
    return np.asarray(labelled == 1 + int(sizes.argmax()))


def stable(mask: Mask, moments: Moments) -> NDArray[np.float32]:
    """A region weighted by how alike the pictures are there; at most 1.

    Weight 1 / (1 + deviation / median deviation), brought to 1 where it is largest.
    """
    weight = 1 / (1 + moments.deviation / np.median(moments.deviation))
    return np.asarray(mask * weight / weight[mask].max(), dtype=np.float32)
