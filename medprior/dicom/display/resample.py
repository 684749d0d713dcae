"""Separable resampling by any ratio: exact area averaging when shrinking, linear when growing."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

FloatPixels = NDArray[np.float32]
TRANSPOSE_STRIP_ROWS = 16


@lru_cache(maxsize=256)
def compute_axis_weights(source: int, target: int) -> sparse.csr_matrix:
    """Compute the weights that resample one axis: overlap areas to shrink, linear to grow.

    Args:
        source: number of samples of the axis.
        target: number of samples after resampling.

    Returns:
        Sparse float32 [target, source] whose rows sum to 1.
    """
    from scipy import sparse

    if target > source:
        centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        low = np.minimum(centre.astype(np.int64), max(source - 2, 0))
        fraction = centre - low
        column = np.stack([low, np.minimum(low + 1, source - 1)], axis=1)
        weight = np.stack([1 - fraction, fraction], axis=1)
    else:
        edge = np.arange(target + 1) * (source / target)
        first = edge[:-1].astype(np.int64)
        column = first[:, None] + np.arange(int(np.ceil(source / target)) + 1)
        upper = np.minimum(column + 1, edge[1:, None])
        weight = np.clip(upper - np.maximum(column, edge[:-1, None]), 0, None)
        weight[column >= source] = 0
        weight /= weight.sum(axis=1, keepdims=True)
        column = np.minimum(column, source - 1)
    row = np.repeat(np.arange(target), column.shape[1])
    entries = (weight.ravel().astype(np.float32), (row, column.ravel()))
    matrix = sparse.csr_matrix(entries, shape=(target, source), dtype=np.float32)
    matrix.eliminate_zeros()
    return matrix


def resize_pixels(pixels: FloatPixels, rows: int, cols: int) -> FloatPixels:
    """Resample `pixels` to `rows` x `cols`, by area averaging along axes that shrink.

    Shape:
        pixels: float32 [h, w]; the result is float32 [rows, cols] within the range of `pixels`.
    """
    result = np.ascontiguousarray(pixels, dtype=np.float32)
    if rows != result.shape[0]:
        result = compute_axis_weights(result.shape[0], rows) @ result
    if cols != result.shape[1]:
        result = transpose_in_strips(compute_axis_weights(result.shape[1], cols) @ transpose_in_strips(result))
    return np.asarray(result, dtype=np.float32)


def transpose_in_strips(pixels: FloatPixels) -> FloatPixels:
    """Transpose into a copy in strips: columns a power of two apart share few cache lines."""
    result = np.empty(pixels.shape[::-1], np.float32)
    for start in range(0, len(pixels), TRANSPOSE_STRIP_ROWS):
        result[:, start : start + TRANSPOSE_STRIP_ROWS] = pixels[start : start + TRANSPOSE_STRIP_ROWS].T
    return result


def compute_resized_shape(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """Rows and columns scaled down to a longest side of `longest`, same aspect, never enlarged."""
    scale = min(1.0, longest / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
