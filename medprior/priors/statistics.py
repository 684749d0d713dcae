"""Segments lungs and heart from the per-pixel statistics of a cohort, without labels.

Mean, deviation and edges over the cohort; the lungs are the two dark regions of the mean picture,
the heart is the lower part of the region between them. Our choice: the lungs are segmented row by
row, as the intensity valley between spine and chest wall. This needs no threshold between body and
background and works where the chest wall is faint in the mean and on collimated pictures.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medprior.cohort import Cohort
from medprior.errors import MedpriorError
from medprior.metrics.cardiothoracic_ratio import keep_largest_component
from medprior.priors.moments import Moments, accumulate_moments
from medprior.priors.settings import StatisticsSettings

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
REGION_NAMES = ("left_lung", "right_lung", "heart")


def compute_cohort_moments(cohort: Cohort, settings: StatisticsSettings) -> tuple[Moments, Moments]:
    """Statistics of the even and of the odd training images of a cohort on unit squares."""
    squares = cohort.split("train").open_squares(settings.size)
    if len(squares) < 2:
        raise MedpriorError(
            "too few training images", where="--method statistics", expected="2 or more",
            found=str(len(squares)), fix="ingest more images, or use --annotation",
        )  # fmt: skip

    def batches(first: int) -> Iterator[NDArray[np.float32]]:
        """Every second picture of the training split, batch by batch."""
        for start in range(first, len(squares), 2 * settings.batch):
            yield np.asarray(squares[start : start + 2 * settings.batch : 2])

    return accumulate_moments(batches(0)), accumulate_moments(batches(1))


def segment_with_split_half_iou(
    halves: tuple[Moments, Moments], settings: StatisticsSettings
) -> tuple[Moments, dict[str, Mask], float | None]:
    """Statistics of all images, their regions, and the mean IoU of the regions of both halves.

    The IoU is None where one half alone shows no lungs.
    """
    combined = halves[0].merge(halves[1])
    find = cluster_regions if settings.regions else find_lungs_and_heart
    masks = find(combined, settings)
    try:
        even, odd = (find(half, settings) for half in halves)
    except MedpriorError:
        return combined, masks, None
    overlaps = [(even[n] & odd[n]).sum() / max(1, (even[n] | odd[n]).sum()) for n in masks]
    return combined, masks, round(float(np.mean(overlaps)), 4)


def cluster_regions(moments: Moments, settings: StatisticsSettings) -> dict[str, Mask]:
    """Regions of pixels with similar mean, deviation and edges, by k-means, ordered top to bottom.

    For cohorts that show no two lungs; training shows which region is which organ.
    """
    from sklearn.cluster import KMeans

    size = len(moments.mean)
    y, x = np.mgrid[:size, :size] / size
    features = np.stack([moments.mean, moments.deviation, moments.edge, y, x], axis=-1)
    flat = features.reshape(-1, features.shape[-1])
    flat = (flat - flat.mean(axis=0)) / np.maximum(flat.std(axis=0), 1e-9)
    kmeans = KMeans(settings.regions, random_state=0, n_init=4).fit(flat)  # type: ignore[no-untyped-call]
    labels = kmeans.labels_.reshape(size, size)
    order = np.argsort([y[labels == k].mean() for k in range(settings.regions)])
    return {f"region_{n}": labels == k for n, k in enumerate(order, start=1)}


def find_lungs_and_heart(moments: Moments, settings: StatisticsSettings) -> dict[str, Mask]:
    """Lungs and heart of the mean picture: bool [n, n] each, named by `REGION_NAMES`.

    Raises:
        MedpriorError: the mean picture shows no plausible pair of lungs.
    """
    smooth = ndimage.gaussian_filter(moments.mean, 0.01 * len(moments.mean))
    axis = find_midline(smooth)
    size = len(smooth)
    left = np.pad(segment_lung(smooth[:, axis:]), ((0, 0), (axis, 0)))
    right = np.pad(segment_lung(smooth[:, axis::-1])[:, ::-1], ((0, 0), (0, size - axis - 1)))
    heart = segment_heart(left, right, settings) if is_plausible_lung_pair(left, right) else None
    if heart is None or not heart.any():
        raise MedpriorError(
            "no two lungs stand out in the mean of the training images",
            where="--method statistics",
            expected="frontal chest radiographs, upright, air dark",
            fix="check the cohort's contact sheet, or use --annotation",
        )
    return {"left_lung": left, "right_lung": right, "heart": heart}


def find_midline(mean: Array) -> int:
    """Column about which the middle rows of the mean picture are most symmetric."""
    size = len(mean)
    picture, reach = mean[size // 4 : 3 * size // 4], int(0.35 * size)
    columns = np.arange(int(0.4 * size), int(0.6 * size) + 1)
    cost = [float(np.abs(picture[:, c - reach : c] - picture[:, c + reach : c : -1]).mean()) for c in columns]
    return int(columns[int(np.argmin(cost))])


def trace_lung_axis(depth: Array) -> NDArray[np.intp]:
    """Column of the deepest pixel of each row, traced from the deepest pixel of all rows.

    It moves by at most 2 % of the height from row to row, so that it cannot jump to the air beside
    the body.
    """
    rows = len(depth)
    step = max(1, round(0.02 * rows))
    central = depth[rows // 5 : 4 * rows // 5]
    start, column = (int(i) for i in np.unravel_index(int(central.argmax()), central.shape))
    start += rows // 5
    path = np.full(rows, column)
    for order in (range(start - 1, -1, -1), range(start + 1, rows)):
        current = column
        for row in order:
            low = max(0, current - step)
            current = low + int(depth[row, low : current + step + 1].argmax())
            path[row] = current
    return path


def segment_lung(half: Array, share: float = 0.6, least: float = 0.07) -> Mask:
    """The lung in one half of the mean picture: bool [rows, columns], or an empty mask.

    Args:
        half: the mean picture from the midline (column 0) outwards.
        share: in a row the lung ends where the mean has risen by this share from the minimum to
            the ridge, on the side of the spine and of the chest wall.
        least: the lung ends above and below where the valley is shallower than this share of its
            greatest depth.
    """
    inner = np.maximum.accumulate(half, axis=1)
    outer = np.maximum.accumulate(half[:, ::-1], axis=1)[:, ::-1]
    depth = np.minimum(inner, outer) - half
    path = trace_lung_axis(depth)
    deep = depth[np.arange(len(half)), path]
    deepest = int(deep.argmax())
    shallow = np.flatnonzero(deep < least * deep[deepest])
    top = int(shallow[shallow < deepest].max(initial=-1)) + 1
    bottom = int(shallow[shallow > deepest].min(initial=len(half)))
    mask = np.zeros(half.shape, dtype=bool)
    for row in range(top, bottom):
        line, column = half[row], int(path[row])
        for direction, part in ((-1, line[column::-1]), (1, line[column:])):
            risen = part > line[column] + share * (part.max() - line[column])
            mask[row, column + direction * np.arange(int(risen.argmax()))] = True
    smooth = ndimage.binary_opening(ndimage.binary_closing(mask, iterations=2), iterations=3)
    return np.asarray(smooth)


def is_plausible_lung_pair(left: Mask, right: Mask) -> bool:
    """Whether two regions have the size of lungs, similar sizes, and lie side by side.

    The limits are well outside the range of patients (our choice).
    """
    areas = sorted((float(left.mean()), float(right.mean())))
    if areas[0] < 0.03 or areas[1] > 0.35 or areas[1] > 2.5 * areas[0]:
        return False
    rows = [region.any(axis=1) for region in (left, right)]
    return bool((rows[0] & rows[1]).sum() > 0.6 * min(row.sum() for row in rows))


def segment_heart(left: Mask, right: Mask, settings: StatisticsSettings) -> Mask:
    """The region between the lungs, in the lower part of their height."""
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
    return keep_largest_component(between)


def weight_by_stability(mask: Mask, moments: Moments) -> NDArray[np.float32]:
    """A region weighted by the similarity of the pictures at each pixel; at most 1.

    Weight 1 / (1 + deviation / median deviation), scaled to a maximum of 1.
    """
    weight = 1 / (1 + moments.deviation / np.median(moments.deviation))
    return np.asarray(mask * weight / weight[mask].max(), dtype=np.float32)
