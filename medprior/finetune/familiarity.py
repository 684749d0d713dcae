"""How far a picture is from those a model was trained on, and from where on that is too far.

Three descriptions of the view a network sees: its final patch tokens pooled on a 3 x 3 grid, the
view itself as a thumbnail, and its grey levels and sharpness. The tokens alone miss what the
network learned to look past (noise, exposure), the other two what takes a network to see (measured,
see the README of `deploy`). Each is scored by its Mahalanobis distance (Lee et al. 2018) to the
training images under a Gaussian of low rank with one variance for all other directions
(probabilistic PCA, Tipping and Bishop 1999); the score is the mean of the three, each in units of
its spread on validation. Which three, and their mean, is our choice.

The limit is a conformal quantile of the validation scores (Vovk et al. 2005; Bates et al. 2023): of
new images like them at most `false_alarm_rate` lie beyond it, on average over such limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medprior.cohort import Cohort
from medprior.geometry import create_whole_image_views
from medprior.networks.convolutional import CnnEncoder
from medprior.networks.encoder import Encoder, Tokens
from medprior.networks.views import crop_views

Array = NDArray[np.float64]
Features = dict[str, Array]
FAMILIARITY_PREFIX = "familiarity."
FEATURE_NAMES = ("tokens", "thumbnail", "greys")
TOKEN_GRID, THUMBNAIL_PX = 3, 12
QUANTILES = torch.linspace(0.02, 0.98, 9)
GAUSSIAN_RANK = 64
FALSE_ALARM_RATE = 0.05
MIN_IMAGES = 5  # images of either split, below which nothing is learned
MAX_IMAGES = 2000  # images of either split that are looked at
SHARPNESS_EPSILON = 1e-4  # added to the mean step between pixels before its logarithm


@dataclass(frozen=True)
class FamiliarityScore:
    """What a model says of how familiar a picture is.

    Attributes:
        score: 0 is the middle of the validation images, 1 their spread; larger is farther.
        threshold: largest score that still is familiar.
        false_alarm_rate: share of images like those of validation that score higher, on average.
    """

    score: float
    threshold: float
    false_alarm_rate: float

    @property
    def far(self) -> bool:
        """Whether the picture is too far from the training images to be trusted."""
        return self.score > self.threshold

    def record(self) -> dict[str, float]:
        """As JSON values."""
        return {
            "score": round(self.score, 6),
            "threshold": round(self.threshold, 6),
            "false_alarm_rate": round(self.false_alarm_rate, 6),
        }


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with `r` directions of its own and one variance for all others.

    Shape:
        mean: [d]. axes: [r, d], orthonormal. variance: [r], each at least `rest`. rest: [].
    """

    mean: Array
    axes: Array
    variance: Array
    rest: Array

    @classmethod
    def of(cls, x: Array, rank: int = GAUSSIAN_RANK) -> Gaussian:
        """Fitted to n >= 2 rows of x [n, d]; at most half as many directions as rows."""
        count, width = x.shape
        mean = x.mean(axis=0)
        _, singular, axes = np.linalg.svd(x - mean, full_matrices=False)
        variance = singular**2 / (count - 1)
        kept = max(1, min(rank, (count - 1) // 2, width - 1))
        rest = max(variance[kept:].sum() / max(width - kept, 1), 1e-6 * variance.max(), 1e-12)
        return cls(mean, axes[:kept], np.maximum(variance[:kept], rest), np.asarray(rest))

    def distance(self, x: Array) -> Array:
        """Mahalanobis distance of rows x [n, d]: [n]."""
        away = x - self.mean
        along = away @ self.axes.T
        beside = np.clip((away**2).sum(axis=1) - (along**2).sum(axis=1), 0, None)
        return np.asarray(np.sqrt((along**2 / self.variance).sum(axis=1) + beside / self.rest))


@dataclass(frozen=True)
class FamiliarityDetector:
    """Fitted Gaussians, their scale on validation, and the limit.

    Shape:
        gaussians: by description. middle, spread: [3], of their distances on validation.
        threshold, false_alarm_rate: see `Familiar`.
    """

    gaussians: Mapping[str, Gaussian]
    middle: Array
    spread: Array
    threshold: float
    false_alarm_rate: float

    @classmethod
    def of(cls, train: Features, val: Features, rate: float = FALSE_ALARM_RATE) -> FamiliarityDetector:
        """Fit on training features, scale and limit on validation ones; [n, d] by description."""
        gaussians = {name: Gaussian.of(train[name]) for name in FEATURE_NAMES}
        distances = np.stack([gaussians[name].distance(val[name]) for name in FEATURE_NAMES], axis=1)
        middle = np.median(distances, axis=0)
        spread = np.maximum(1.4826 * np.median(abs(distances - middle), axis=0), 1e-6)
        scores = np.sort(((distances - middle) / spread).mean(axis=1))
        count = len(scores)
        place = min(count, math.ceil((count + 1) * (1 - rate)))
        alarms = (count + 1 - place) / (count + 1)
        return cls(gaussians, middle, spread, float(scores[place - 1]), alarms)

    def scores(self, features: Features) -> Array:
        """Scores [n] of features [n, d] by description."""
        distances = [self.gaussians[name].distance(features[name]) for name in FEATURE_NAMES]
        return np.asarray(((np.stack(distances, axis=1) - self.middle) / self.spread).mean(axis=1))

    def familiar(self, features: Features) -> list[FamiliarityScore]:
        """What is said of each row of features."""
        scores = self.scores(features).tolist()
        return [FamiliarityScore(score, self.threshold, self.false_alarm_rate) for score in scores]

    def tensors(self) -> dict[str, Tensor]:
        """All of it as float32 tensors, to lie among a model's weights under `familiarity.`."""
        parts = {
            "middle": self.middle,
            "spread": self.spread,
            "limit": np.array([self.threshold, self.false_alarm_rate]),
        }
        for name, one in self.gaussians.items():
            parts |= {f"{name}.mean": one.mean, f"{name}.axes": one.axes}
            parts |= {f"{name}.variance": one.variance, f"{name}.rest": one.rest}
        return {
            f"{FAMILIARITY_PREFIX}{name}": torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
            for name, value in parts.items()
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> FamiliarityDetector | None:
        """The inverse of `tensors`, from a model's weights; None for a model without it.

        Raises:
            KeyError: only a part of it is there.
        """
        parts = {
            name.removeprefix(FAMILIARITY_PREFIX): value.double().numpy()
            for name, value in tensors.items()
            if name.startswith(FAMILIARITY_PREFIX)
        }
        if not parts:
            return None
        gaussians = {
            name: Gaussian(*(parts[f"{name}.{key}"] for key in ("mean", "axes", "variance", "rest")))
            for name in FEATURE_NAMES
        }
        threshold, rate = parts["limit"].tolist()
        return cls(gaussians, parts["middle"], parts["spread"], threshold, rate)


def compute_view_features(tokens: Tokens, images: Tensor) -> Features:
    """The three descriptions of views [B, 1, S, S] in [0, 1] and their tokens: float64 [B, d] each."""
    rows, columns = tokens.grid
    maps = tokens.patches.float().transpose(1, 2).reshape(len(images), -1, rows, columns)
    small = F.adaptive_avg_pool2d(images.float(), THUMBNAIL_PX)
    flat = images.float().flatten(1)
    levels = torch.quantile(flat, QUANTILES.to(flat), dim=1).T
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    across = (images[..., 1:] - images[..., :-1]).abs().mean(dim=(1, 2, 3))
    sharp = (torch.stack([down, across], dim=1).float() + SHARPNESS_EPSILON).log()
    found = {
        "tokens": F.adaptive_avg_pool2d(maps, TOKEN_GRID).flatten(1),
        "thumbnail": small.flatten(1),
        "greys": torch.cat([levels, sharp], dim=1),
    }
    return {name: value.cpu().double().numpy() for name, value in found.items()}


def compute_cohort_features(
    vit: Encoder | CnnEncoder, cohort: Cohort, size: int, source_size: int, device: torch.device
) -> Features:
    """The descriptions of a cohort's whole views, at most `MOST` of them evenly spaced."""
    squares, aspect = cohort.squares(source_size), cohort.aspect
    count = len(cohort)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MAX_IMAGES)).round().astype(np.intp))
    parts = []
    for start in range(0, len(chosen), 64):
        index = chosen[start : start + 64]
        views = create_whole_image_views(aspect[index], (size, size))
        sources = torch.from_numpy(np.array(squares[index], dtype=np.float32))[:, None].to(device)
        images = crop_views(sources, views, size, torch.arange(len(index)))
        with torch.inference_mode():
            parts.append(compute_view_features(vit(images), images))
    return {name: np.concatenate([part[name] for part in parts]) for name in FEATURE_NAMES}


def fit_familiarity(
    vit: Encoder | CnnEncoder,
    train: Cohort,
    val: Cohort,
    size: int,
    source_size: int,
    device: torch.device,
) -> FamiliarityDetector | None:
    """Fitted at the end of a fine-tuning, on a network in evaluation mode.

    None where either split has too few images.
    """
    if min(len(train), len(val)) < MIN_IMAGES:
        return None
    own = compute_cohort_features(vit, train, size, source_size, device)
    return FamiliarityDetector.of(own, compute_cohort_features(vit, val, size, source_size, device))
