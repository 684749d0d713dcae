"""Out-of-distribution score: the distance of an image from a model's training images, and its limit.

The score uses three feature vectors of a view: the final patch tokens pooled on a 3 x 3 grid, a
thumbnail, and grey levels with sharpness. Tokens alone miss what the network has learned to ignore
(noise, exposure); the other two miss semantic differences (measured, see the README of `deploy`).
Each is scored by its Mahalanobis distance (Lee et al. 2018) to the training images under a Gaussian
of low rank with one variance for all other directions (probabilistic PCA, Tipping and Bishop 1999);
the score is a weighted mean of the three, each in units of its spread on validation, in which the tokens count
most: among the other two are the exposure and collimation in which hospitals differ. The choice of the three and of
their weights is ours.

The limit is a conformal quantile of the validation scores (Vovk et al. 2005; Bates et al. 2023): at
most `false_alarm_rate` of new images like those of validation exceed it, on average over such limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medprior.geometry import create_whole_image_views
from medprior.networks.convolutional import CnnEncoder
from medprior.networks.encoder import Encoder, Tokens
from medprior.networks.views import crop_views

if TYPE_CHECKING:
    from medprior.cohort import Cohort

Array = NDArray[np.float64]
Features = dict[str, Array]
FAMILIARITY_PREFIX = "familiarity."
FEATURE_NAMES = ("tokens", "thumbnail", "greys")
FEATURE_WEIGHTS = (0.8, 0.1, 0.1)
EQUAL_WEIGHTS = (1 / 3, 1 / 3, 1 / 3)  # of models that were trained before their weights were stored
TOKEN_GRID, THUMBNAIL_PX = 3, 12
QUANTILES = torch.linspace(0.02, 0.98, 9)
GAUSSIAN_RANK = 64
FALSE_ALARM_RATE = 0.05
MIN_IMAGES = 5  # fewest images of either split that a detector is fitted on
MAX_IMAGES = 2000  # most images of either split that are used
SHARPNESS_EPSILON = 1e-4  # added to the mean absolute pixel difference before its logarithm


@dataclass(frozen=True)
class OutOfDistributionScore:
    """The out-of-distribution score of one image, and its limit.

    Attributes:
        score: robust z-score of Mahalanobis distances (median and spread of validation), weighted mean of three
            features; larger is more out of distribution.
        threshold: largest score that counts as familiar.
        false_alarm_rate: share of images like those of validation that score higher, on average.
    """

    score: float
    threshold: float
    false_alarm_rate: float

    @property
    def is_out_of_distribution(self) -> bool:
        """Whether the image is too far from the training images to be trusted."""
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
    """A Gaussian with `r` principal directions and one variance for all others.

    Shape:
        mean: [d]. axes: [r, d], orthonormal. variance: [r], each at least `rest`. rest: [].
    """

    mean: Array
    axes: Array
    variance: Array
    rest: Array

    @classmethod
    def fit(cls, x: Array, rank: int = GAUSSIAN_RANK) -> Gaussian:
        """Fit to n >= 2 rows of x [n, d]; at most half as many directions as rows."""
        count, width = x.shape
        mean = x.mean(axis=0)
        _, singular, axes = np.linalg.svd(x - mean, full_matrices=False)
        variance = singular**2 / (count - 1)
        directions = max(1, min(rank, (count - 1) // 2, width - 1))
        rest = max(variance[directions:].sum() / max(width - directions, 1), 1e-6 * variance.max(), 1e-12)
        return cls(mean, axes[:directions], np.maximum(variance[:directions], rest), np.asarray(rest))

    def distance(self, x: Array) -> Array:
        """Mahalanobis distance of rows x [n, d]: [n]."""
        centred = x - self.mean
        projected = centred @ self.axes.T
        residual = np.clip((centred**2).sum(axis=1) - (projected**2).sum(axis=1), 0, None)
        return np.asarray(np.sqrt((projected**2 / self.variance).sum(axis=1) + residual / self.rest))


@dataclass(frozen=True)
class OutOfDistributionDetector:
    """Gaussians of the training features, their scale on validation, and the limit.

    Shape:
        gaussians: by feature name. middle, spread: [3], median and spread of the validation distances.
        threshold, false_alarm_rate: see `OutOfDistributionScore`. weights: [3], of the features, sum 1.
    """

    gaussians: Mapping[str, Gaussian]
    middle: Array
    spread: Array
    threshold: float
    false_alarm_rate: float
    weights: tuple[float, ...] = FEATURE_WEIGHTS

    @classmethod
    def fit(cls, train: Features, val: Features, rate: float = FALSE_ALARM_RATE) -> OutOfDistributionDetector:
        """Fit on training features, scale and limit on validation ones; [n, d] by feature name."""
        gaussians = {name: Gaussian.fit(train[name]) for name in FEATURE_NAMES}
        distances = np.stack([gaussians[name].distance(val[name]) for name in FEATURE_NAMES], axis=1)
        middle = np.median(distances, axis=0)
        spread = np.maximum(1.4826 * np.median(abs(distances - middle), axis=0), 1e-6)
        scores = np.sort((distances - middle) / spread @ np.array(FEATURE_WEIGHTS))
        count = len(scores)
        rank = min(count, math.ceil((count + 1) * (1 - rate)))
        false_alarms = (count + 1 - rank) / (count + 1)
        return cls(gaussians, middle, spread, float(scores[rank - 1]), false_alarms)

    def scores(self, features: Features) -> Array:
        """Scores [n] of features [n, d] by feature name."""
        distances = [self.gaussians[name].distance(features[name]) for name in FEATURE_NAMES]
        return np.asarray((np.stack(distances, axis=1) - self.middle) / self.spread @ np.array(self.weights))

    def assess(self, features: Features) -> list[OutOfDistributionScore]:
        """Score and limit of each row of features."""
        scores = self.scores(features).tolist()
        return [OutOfDistributionScore(score, self.threshold, self.false_alarm_rate) for score in scores]

    def to_tensors(self) -> dict[str, Tensor]:
        """The detector as float32 tensors, stored with a model's weights under `familiarity.`."""
        parts = {
            "middle": self.middle,
            "spread": self.spread,
            "limit": np.array([self.threshold, self.false_alarm_rate]),
            "weights": np.array(self.weights),
        }
        for name, gaussian in self.gaussians.items():
            parts |= {f"{name}.{key}": value for key, value in vars(gaussian).items()}
        return {
            f"{FAMILIARITY_PREFIX}{name}": torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
            for name, value in parts.items()
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> OutOfDistributionDetector | None:
        """The inverse of `to_tensors`, from a model's weights; None for a model without a detector.

        Raises:
            KeyError: some of its tensors are missing.
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
        weights = tuple(parts.get("weights", np.array(EQUAL_WEIGHTS)).tolist())
        return cls(gaussians, parts["middle"], parts["spread"], threshold, rate, weights)


def extract_ood_features(tokens: Tokens, images: Tensor) -> Features:
    """The three feature vectors float64 [B, d] of views [B, 1, S, S] in [0, 1] and their tokens."""
    rows, columns = tokens.grid
    maps = tokens.patches.float().transpose(1, 2).reshape(len(images), -1, rows, columns)
    thumbnail = F.adaptive_avg_pool2d(images.float(), THUMBNAIL_PX)
    flat = images.float().flatten(1)
    levels = torch.quantile(flat, QUANTILES.to(flat), dim=1).T
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    across = (images[..., 1:] - images[..., :-1]).abs().mean(dim=(1, 2, 3))
    sharpness = (torch.stack([down, across], dim=1).float() + SHARPNESS_EPSILON).log()
    features = {
        "tokens": F.adaptive_avg_pool2d(maps, TOKEN_GRID).flatten(1),
        "thumbnail": thumbnail.flatten(1),
        "greys": torch.cat([levels, sharpness], dim=1),
    }
    return {name: value.cpu().double().numpy() for name, value in features.items()}


def extract_cohort_ood_features(
    vit: Encoder | CnnEncoder, cohort: Cohort, size: int, source_size: int, device: torch.device
) -> Features:
    """The features of a cohort's whole views, at most `MAX_IMAGES` of them evenly spaced."""
    squares, aspect = cohort.open_squares(source_size), cohort.aspect
    count = len(cohort)
    numbers = np.unique(np.linspace(0, count - 1, min(count, MAX_IMAGES)).round().astype(np.intp))
    parts = []
    for start in range(0, len(numbers), 64):
        index = numbers[start : start + 64]
        views = create_whole_image_views(aspect[index], (size, size))
        sources = torch.from_numpy(np.array(squares[index], dtype=np.float32))[:, None].to(device)
        images = crop_views(sources, views, size, torch.arange(len(index), device=device))
        with torch.inference_mode():
            parts.append(extract_ood_features(vit(images), images))
    return {name: np.concatenate([part[name] for part in parts]) for name in FEATURE_NAMES}


def fit_ood_detector(
    vit: Encoder | CnnEncoder,
    train: Cohort,
    val: Cohort,
    size: int,
    source_size: int,
    device: torch.device,
) -> OutOfDistributionDetector | None:
    """Fit a detector with a network in evaluation mode; None if either split has too few images."""
    if min(len(train), len(val)) < MIN_IMAGES:
        return None
    features, val_features = (
        extract_cohort_ood_features(vit, split, size, source_size, device) for split in (train, val)
    )
    return OutOfDistributionDetector.fit(features, val_features)
