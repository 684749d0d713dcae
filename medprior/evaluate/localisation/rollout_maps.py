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
        maps: float32 [n, C, s, s] over unit squares; 1 is the mean over the patches of a map that
            lost nothing. dropped: float32 [n, C] in [0, 1], share that ends on CLS and registers
            and is in no map. there: bool [n, C], False for a structure the model finds nowhere.
    """

    maps: NDArray[np.float32]
    dropped: NDArray[np.float32]
    there: NDArray[np.bool_]


def compute_model_rollout(
    model: Model, cohort: Cohort, size: int, settings: RolloutSettings | None = None
) -> RolloutMaps:
    """Dense attention roll-out per structure (hard weights) or per finding (gradient-weighted).

    Meant for a few images: classifiers take one backward pass per finding.

    Args:
        model: fine-tuned.
        cohort: the images, in order.
        size: side of the unit squares, pixels.
        settings: variants; by default the task's.
    """
    squares, aspect = cohort.squares(model.source_size), cohort.aspect
    images, views = model.create_views(squares[: len(cohort)], aspect)
    network = model.network
    found: RolloutResult
    if isinstance(network, Segmenter):
        found = compute_segmenter_rollout(network, images, "hard", settings)
    else:
        found = compute_classifier_rollout(network, images, settings)
    patches = found.maps[0, 0].numel()
    laid = resample_maps_to_source(found.maps * patches, views, size)
    lost = found.cls_mass + found.register_mass
    there = found.maps.sum((-1, -2)) + lost > 0
    return RolloutMaps(laid.cpu().numpy(), lost.cpu().numpy(), there.cpu().numpy())


def select_shown_outputs(truth: NDArray[np.float64], most: int) -> list[int]:
    """Outputs to show: those with most positives in truth [n, C] (NaN unknown), in their order."""
    positives = np.nansum(truth, axis=0)
    return sorted(np.argsort(-positives, kind="stable")[:most].tolist())


def compute_mean_error(truth: NDArray[np.float64], probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean absolute error of each image over its known labels, [n, C] -> [n], NaN without any."""
    gap = np.abs(truth - probability)
    known = np.isfinite(gap).sum(axis=1)
    total: NDArray[np.float64] = np.nansum(gap, axis=1)
    return np.where(known > 0, total / np.maximum(known, 1), np.nan)
