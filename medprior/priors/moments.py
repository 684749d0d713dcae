"""Per-pixel statistics of many pictures in one pass, mergeable over batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Count, mean, sum of squared deviations and mean edge strength at every pixel.

    Merged parts equal one pass over both, up to rounding (Chan et al. 1979, float64), so the result
    does not depend on batches, workers or order.

    Shape:
        mean, squares, edge: float64 [n, n].
    """

    count: int
    mean: Array
    squares: Array
    edge: Array

    @classmethod
    def of(cls, pictures: Array) -> Moments:
        """Statistics of float [b, n, n]."""
        values = np.asarray(pictures, dtype=np.float64)
        mean = values.mean(axis=0)
        slopes = np.gradient(values, axis=(1, 2))
        return cls(
            count=len(values),
            mean=mean,
            squares=((values - mean) ** 2).sum(axis=0),
            edge=np.hypot(slopes[0], slopes[1]).mean(axis=0),
        )

    def merge(self, other: Moments) -> Moments:
        """Statistics of both parts together."""
        count = self.count + other.count
        share = other.count / count
        difference = other.mean - self.mean
        return Moments(
            count=count,
            mean=self.mean + difference * share,
            squares=self.squares + other.squares + difference**2 * (self.count * share),
            edge=self.edge + (other.edge - self.edge) * share,
        )

    @property
    def deviation(self) -> Array:
        """Standard deviation at every pixel: float64 [n, n]."""
        return np.asarray(np.sqrt(self.squares / self.count))


def standardise_pictures(pictures: NDArray[np.float32]) -> Array:
    """Pictures with normalised exposure: clipped at their 1st and 99th percentile, mean 0, deviation 1.

    Shape:
        float32 [b, n, n]; float64 back.
    """
    values = np.asarray(pictures, dtype=np.float64)
    low, high = np.percentile(values, (1, 99), axis=(1, 2), keepdims=True)
    values = np.clip(values, low, high)
    values = values - values.mean(axis=(1, 2), keepdims=True)
    return np.asarray(values / np.maximum(values.std(axis=(1, 2), keepdims=True), 1e-6))


def accumulate_moments(batches: Iterable[NDArray[np.float32]]) -> Moments:
    """Statistics of all pictures of all batches, standardised one by one.

    Raises:
        ValueError: no batch.
    """
    total: Moments | None = None
    for batch in batches:
        part = Moments.of(standardise_pictures(batch))
        total = part if total is None else total.merge(part)
    if total is None:
        raise ValueError("no pictures")
    return total
