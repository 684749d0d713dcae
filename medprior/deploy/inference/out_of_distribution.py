"""Detects radiographs unlike the training images, and implausible masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.errors import Rejected
from medprior.finetune.familiarity import OutOfDistributionScore
from medprior.finetune.model import Prediction
from medprior.geometry import find_mask_box

MaskArray = NDArray[np.bool_]
# 95 % ranges of 383 expert drawings of adults (246 JSRT, 137 PadChest radiographs; landmarks of
# Gaggion et al.), widened by at least half on either side (our choice): no chest lies beyond them.
LUNGS_WIDTH_RANGE = (0.50, 1.0)  # of the picture
LUNGS_HEIGHT_RANGE = (0.32, 1.0)  # of the picture
LUNG_AREA_RANGE = (0.11, 0.37)  # of the box around both lungs
HEART_AREA_RANGE = (0.03, 0.35)  # of that box
HEART_X_RANGE = (0.42, 0.78)  # centre, from that box's left on the picture
HEART_Y_RANGE = (0.40, 0.95)  # centre, from its top


def select_familiarity(answers: Mapping[str, Prediction]) -> OutOfDistributionScore | None:
    """The classifier's familiarity score of an image, else the segmenter's."""
    for task in ("classification", "segmentation"):
        if task in answers and answers[task].familiarity is not None:
            return answers[task].familiarity
    return None


def refuse_unfamiliar(prediction: RadiographPrediction) -> RadiographPrediction:
    """Return the prediction unless its image is far from the training images.

    Raises:
        Rejected: `far_from_training`.
    """
    if prediction.familiar is not None and prediction.familiar.is_out_of_distribution:
        raise Rejected(
            "far_from_training",
            "the picture is unlike those the models were trained on",
            fix="predict without --refuse-unfamiliar and treat the result as unreliable",
        )
    return prediction


def find_implausible_masks(masks: Mapping[str, MaskArray]) -> list[str]:
    """Names of the properties in which lung and heart masks differ from any adult frontal chest.

    Args:
        masks: name -> bool [rows, cols]; without both lungs the list is empty.
    """
    if not {"left_lung", "right_lung"} <= set(masks):
        return []
    left, right = masks["left_lung"], masks["right_lung"]
    if not left.any() or not right.any():
        return ["a lung is missing"]
    rows, cols = left.shape
    y0, y1, x0, x1 = compute_mask_bounds(left | right)
    area = (y1 - y0) * (x1 - x0)
    plausible = {
        "lungs' width": is_within_limits((x1 - x0) / cols, LUNGS_WIDTH_RANGE),
        "lungs' height": is_within_limits((y1 - y0) / rows, LUNGS_HEIGHT_RANGE),
        "left lung's area": is_within_limits(np.count_nonzero(left) / area, LUNG_AREA_RANGE),
        "right lung's area": is_within_limits(np.count_nonzero(right) / area, LUNG_AREA_RANGE),
        # The patient's left is on the picture's right.
        "lungs' sides": compute_mask_centroid(left)[1] > compute_mask_centroid(right)[1],
    }
    heart = masks.get("heart")
    if heart is not None and not heart.any():
        plausible["heart's area"] = False
    elif heart is not None:
        y, x = compute_mask_centroid(heart)
        plausible |= {
            "heart's area": is_within_limits(np.count_nonzero(heart) / area, HEART_AREA_RANGE),
            "heart's place across": is_within_limits((x - x0) / (x1 - x0), HEART_X_RANGE),
            "heart's place down": is_within_limits((y - y0) / (y1 - y0), HEART_Y_RANGE),
        }
    return [name for name, within in plausible.items() if not within]


def compute_mask_bounds(mask: MaskArray) -> tuple[int, int, int, int]:
    """First and last + 1 row and column of a mask that is not empty."""
    rows, cols = find_mask_box(mask)
    return rows.start, rows.stop, cols.start, cols.stop


def compute_mask_centroid(mask: MaskArray) -> tuple[float, float]:
    """Centre of mass (row, column) of a mask that is not empty."""
    box = find_mask_box(mask)
    inside = mask[box].view(np.uint8)
    # Sums of bytes in int32 are several times faster than sums of booleans.
    per_axis = (inside.sum(axis=1, dtype=np.int32), inside.sum(axis=0, dtype=np.int32))
    y, x = (
        part.start + float(counts @ np.arange(counts.size) / counts.sum())
        for part, counts in zip(box, per_axis, strict=True)
    )
    return y, x


def is_within_limits(value: float, limits: tuple[float, float]) -> bool:
    """Whether a value lies within limits."""
    return bool(limits[0] <= value <= limits[1])
