"""Roll-out maps of a fine-tuned model over the unit squares of a cohort's images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.networks import resample_maps_to_source
from medprior.networks.class_rollout import compute_classifier_rollout, compute_segmenter_rollout
from medprior.networks.decoders import Segmenter
from medprior.networks.rollout import RolloutResult, RolloutSettings

if TYPE_CHECKING:
    from medprior.finetune.model import Model


@dataclass(frozen=True)
class RolloutMaps:
    """Roll-out of some outputs of a model.

    Shape:
        maps: float32 [n, C, s, s] on unit squares; a map whose mass is all on patches has mean 1.
        dropped_share: float32 [n, C] in [0, 1], mass on CLS and registers, which is in no map.
        is_predicted: bool [n, C], False for a structure that the model predicts nowhere.
    """

    maps: NDArray[np.float32]
    dropped_share: NDArray[np.float32]
    is_predicted: NDArray[np.bool_]


def compute_model_rollout(
    model: Model, cohort: Cohort, size: int, settings: RolloutSettings | None = None
) -> RolloutMaps:
    """Dense attention roll-out per structure (hard weights) or per finding (gradient-weighted).

    For a few images: classifiers need one backward pass per finding.

    Args:
        model: fine-tuned classifier or segmenter.
        cohort: the images, in order.
        size: side of the unit squares, pixels.
        settings: roll-out variant; by default that of the task.
    """
    squares, aspect = cohort.squares(model.source_size), cohort.aspect
    images, boxes = model.create_views(squares[: len(cohort)], aspect)
    network = model.network
    rollout: RolloutResult
    if isinstance(network, Segmenter):
        rollout = compute_segmenter_rollout(network, images, "hard", settings)
    else:
        rollout = compute_classifier_rollout(network, images, settings)
    patches = rollout.maps[0, 0].numel()
    resampled = resample_maps_to_source(rollout.maps * patches, boxes, size)
    dropped_share = rollout.cls_mass + rollout.register_mass
    is_predicted = rollout.maps.sum((-1, -2)) + dropped_share > 0
    return RolloutMaps(resampled.cpu().numpy(), dropped_share.cpu().numpy(), is_predicted.cpu().numpy())


def select_most_positive_outputs(truth: NDArray[np.float64], limit: int) -> list[int]:
    """Indices of the `limit` outputs with most positives in truth [n, C] (NaN unknown), ascending."""
    positives = np.nansum(truth, axis=0)
    return sorted(np.argsort(-positives, kind="stable")[:limit].tolist())


def compute_image_mae(truth: NDArray[np.float64], probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean absolute error of each image over its known labels, [n, C] -> [n], NaN without any."""
    error = np.abs(truth - probability)
    known_count = np.isfinite(error).sum(axis=1)
    total: NDArray[np.float64] = np.nansum(error, axis=1)
    return np.where(known_count > 0, total / np.maximum(known_count, 1), np.nan)
