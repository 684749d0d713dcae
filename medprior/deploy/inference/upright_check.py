"""Tells from the pixels alone whether a picture is an upright frontal chest with dark air.

A picture is compared with itself inverted and turned: the model finds the right one the most familiar (measured, see
`tests/deploy/inference/test_upright_check.py`). Mirrored pictures are not told: hearts and markers differ too little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medprior.deploy.inference.out_of_distribution import find_implausible_masks
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.deploy.inference.predictor import Predictor
from medprior.dicom.display.polarity import invert_polarity
from medprior.errors import InputMissing

Pixels = NDArray[np.float32]
INVERTED_FLAG, ROTATED_FLAG, NOT_FRONTAL_FLAG = "pixels_inverted", "pixels_rotated", "pixels_not_frontal"
OTHER_POSES: tuple[tuple[str, Callable[[Pixels], Pixels]], ...] = (
    (INVERTED_FLAG, invert_polarity),
    (ROTATED_FLAG, lambda pixels: np.rot90(pixels, 1)),
    (ROTATED_FLAG, lambda pixels: np.rot90(pixels, 2)),
    (ROTATED_FLAG, lambda pixels: np.rot90(pixels, 3)),
)
# How much more familiar another pose must be, in units of the score (our choice).
MIN_SCORE_DIFFERENCE = 0.2


def require_upright_check(predictor: Predictor) -> None:
    """Check that the models can tell an upright chest.

    Raises:
        InputMissing: there is no segmentation model with a familiarity score.
    """
    model = predictor.models.get("segmentation")
    if model is None or model.familiarity is None:
        raise InputMissing(
            "no model that segments lungs and knows its training images",
            where="--check-upright",
            fix="leave --model out, for the anatomy model, or name one with --segmenter",
        )


def flag_wrong_pose(predictor: Predictor, prediction: RadiographPrediction) -> RadiographPrediction:
    """Add a flag where another pose of the picture is more familiar, or where it shows no chest in any pose.

    Args:
        predictor: passes `require_upright_check`.
        prediction: of the picture.
    """
    flag = find_wrong_pose(predictor, prediction.pixels)
    return replace(prediction, flags=(*prediction.flags, flag)) if flag else prediction


def find_wrong_pose(predictor: Predictor, pixels: Pixels) -> str:
    """The flag of a picture, empty for an upright frontal chest with dark air.

    Args:
        predictor: passes `require_upright_check`.
        pixels: float32 [rows, cols] in [0, 1].
    """
    own_score, is_own_plausible, is_unfamiliar = score_pose(predictor, pixels)
    best_score, best_flag = own_score - MIN_SCORE_DIFFERENCE, ""
    for flag, change in OTHER_POSES:
        score, is_plausible, _ = score_pose(predictor, np.ascontiguousarray(change(pixels), dtype=np.float32))
        if score < best_score and is_plausible:
            best_score, best_flag = score, flag
    if best_flag:
        return best_flag
    return NOT_FRONTAL_FLAG if is_unfamiliar and not is_own_plausible else ""


def score_pose(predictor: Predictor, pixels: Pixels) -> tuple[float, bool, bool]:
    """Score a picture: familiarity (low is familiar), whether its masks are a chest's, whether it is unfamiliar."""
    output = predictor.models["segmentation"].predict_pixels(pixels, predictor.forward, False)
    assert output.familiarity is not None  # require_upright_check
    is_plausible = not find_implausible_masks(output.masks)
    return output.familiarity.score, is_plausible, output.familiarity.is_out_of_distribution
