"""Out-of-distribution detection of a fine-tuned model, as a table of AUROC by kind of picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medprior.bench.out_of_distribution_images import create_out_of_distribution_pictures
from medprior.cohort import Cohort
from medprior.deploy.inference.out_of_distribution import find_implausible_masks
from medprior.errors import InputMissing
from medprior.finetune.model import Model
from medprior.metrics.auc import compute_auc

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class OutOfDistributionResult:
    """One kind of out-of-distribution picture against the frontal chests.

    Attributes:
        kind: of the picture.
        auroc: chance that such a picture scores higher than a chest.
        detection_rate: share of the pictures above the threshold.
        masks: share of them whose predicted masks are implausible; None without a segmenter.
        n: number of pictures.
    """

    kind: str
    auroc: float
    detection_rate: float
    masks: float | None
    n: int


@dataclass(frozen=True)
class OutOfDistributionReport:
    """Results of all kinds, and the false alarms on chests.

    Attributes:
        stated_rate: false-alarm rate that the model states.
        false_alarm_rate: share of the chests above the threshold. mask_alarm_rate: with implausible masks.
        chests: number of chests. rows: one result per kind.
    """

    stated_rate: float
    false_alarm_rate: float
    mask_alarm_rate: float | None
    chests: int
    rows: Sequence[OutOfDistributionResult]

    @property
    def auroc(self) -> float:
        """Mean over the kinds."""
        return float(np.mean([row.auroc for row in self.rows]))

    @property
    def detection_rate(self) -> float:
        """Mean over the kinds."""
        return float(np.mean([row.detection_rate for row in self.rows]))

    def table(self) -> str:
        """The report as a Markdown table."""
        lines = ["| picture | AUROC | beyond the limit | implausible masks |", "|---|---|---|---|"]
        chests = ("frontal chests", None, self.false_alarm_rate, self.mask_alarm_rate)
        mean = ("mean of the odd kinds", self.auroc, self.detection_rate, None)
        kinds = [(row.kind, row.auroc, row.detection_rate, row.masks) for row in self.rows]
        for name, auroc, alarms, masks in (chests, *kinds, mean):
            cell = "" if auroc is None else f"{auroc:.3f}"
            lines.append(f"| {name} | {cell} | {alarms:.3f} | {'' if masks is None else f'{masks:.3f}'} |")
        return "\n".join(lines)


def bench_out_of_distribution(
    model: Model, cohort: Cohort, split: str = "test", max_chests: int = 100, seed: int = 0
) -> OutOfDistributionReport:
    """Score the chests of a split and as many out-of-distribution pictures of each kind.

    Args:
        model: with a fitted familiarity score.
        cohort: frontal chests of the model's kind.
        split: images that took no part in training.
        max_chests: largest number of chests.
        seed: of the pictures.

    Raises:
        InputMissing: the model has no familiarity score.
    """
    if model.familiarity is None:
        raise InputMissing("the model has no familiarity", where="model", fix="run `medprior finetune` again")
    ids = cohort.split(split).image_ids[:max_chests]
    chests = [cohort.pixels(image_id) for image_id in ids]
    chest_scores, mask_alarm_rate = score_pictures(model, chests)
    rows = []
    for kind, pictures in create_out_of_distribution_pictures(chests, seed, max(chests[0].shape)).items():
        scores, masks = score_pictures(model, pictures)
        detection_rate = float((scores > model.familiarity.threshold).mean())
        truth = np.repeat([0.0, 1.0], [len(chest_scores), len(scores)])
        auroc = compute_auc(truth, np.concatenate([chest_scores, scores]))
        rows.append(OutOfDistributionResult(kind, auroc, detection_rate, masks, len(pictures)))
    alarms = float((chest_scores > model.familiarity.threshold).mean())
    return OutOfDistributionReport(model.familiarity.false_alarm_rate, alarms, mask_alarm_rate, len(chests), rows)


def score_pictures(model: Model, pictures: Sequence[Pixels]) -> tuple[NDArray[np.float64], float | None]:
    """Familiarity scores [n] of pictures, and the share whose masks are implausible."""
    predictions = [model.predict_pixels(picture) for picture in pictures]
    scores = [prediction.familiarity.score for prediction in predictions if prediction.familiarity is not None]
    if not model.structures:
        return np.array(scores), None
    return np.array(scores), float(np.mean([bool(find_implausible_masks(p.masks)) for p in predictions]))
