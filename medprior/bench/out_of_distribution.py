"""How well a model tells pictures that it should not be asked about, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medprior.bench.out_of_distribution_images import create_oddities
from medprior.cohort import Cohort
from medprior.deploy.inference.out_of_distribution import find_implausible_masks
from medprior.errors import InputMissing
from medprior.finetune.model import Model

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class OddityResult:
    """One kind of odd picture against the frontal chests.

    Attributes:
        kind: of the oddity.
        auroc: chance that an odd picture scores higher than a chest.
        caught: share of the odd pictures beyond the limit.
        masks: share of them whose drawn masks are implausible; None without a segmenter.
        n: odd pictures.
    """

    kind: str
    auroc: float
    caught: float
    masks: float | None
    n: int


@dataclass(frozen=True)
class OutOfDistributionReport:
    """All kinds, and the false alarms on chests.

    Attributes:
        stated: rate of false alarms that the model states.
        alarms: share of the chests beyond the limit. mask_alarms: with implausible masks.
        chests: how many. rows: by kind.
    """

    stated: float
    alarms: float
    mask_alarms: float | None
    chests: int
    rows: Sequence[OddityResult]

    @property
    def auroc(self) -> float:
        """Mean over the kinds."""
        return float(np.mean([row.auroc for row in self.rows]))

    @property
    def caught(self) -> float:
        """Mean over the kinds."""
        return float(np.mean([row.caught for row in self.rows]))

    def table(self) -> str:
        """As a Markdown table."""
        lines = ["| picture | AUROC | beyond the limit | implausible masks |", "|---|---|---|---|"]
        own = ("frontal chests", None, self.alarms, self.mask_alarms)
        mean = ("mean of the odd kinds", self.auroc, self.caught, None)
        kinds = [(row.kind, row.auroc, row.caught, row.masks) for row in self.rows]
        for name, auroc, far, masks in (own, *kinds, mean):
            area = "" if auroc is None else f"{auroc:.3f}"
            lines.append(f"| {name} | {area} | {far:.3f} | {'' if masks is None else f'{masks:.3f}'} |")
        return "\n".join(lines)


def bench_out_of_distribution(
    model: Model, cohort: Cohort, split: str = "test", most: int = 100, seed: int = 0
) -> OutOfDistributionReport:
    """Score a split's chests and as many oddities of each kind.

    Args:
        model: with a familiarity of its own.
        cohort: frontal chests of the model's kind.
        split: whose images took no part in training.
        most: chests looked at.
        seed: of the oddities.

    Raises:
        InputMissing: the model knows no familiarity.
    """
    if model.familiarity is None:
        raise InputMissing("the model has no familiarity", where="model", fix="run `medprior finetune` again")
    ids = cohort.split(split).image_ids[:most]
    chests = [cohort.pixels(image_id) for image_id in ids]
    own, drawn = score_pictures(model, chests)
    rows = []
    for kind, pictures in create_oddities(chests, seed, max(chests[0].shape)).items():
        scores, masks = score_pictures(model, pictures)
        far = float((scores > model.familiarity.threshold).mean())
        rows.append(OddityResult(kind, compute_auroc(own, scores), far, masks, len(pictures)))
    alarms = float((own > model.familiarity.threshold).mean())
    return OutOfDistributionReport(model.familiarity.false_alarm_rate, alarms, drawn, len(chests), rows)


def score_pictures(model: Model, pictures: Sequence[Pixels]) -> tuple[NDArray[np.float64], float | None]:
    """Scores [n] of pictures, and the share whose masks are implausible."""
    answers = [model.predict_pixels(picture) for picture in pictures]
    scores = [answer.familiarity.score for answer in answers if answer.familiarity is not None]
    if not model.structures:
        return np.array(scores), None
    return np.array(scores), float(np.mean([bool(find_implausible_masks(a.masks)) for a in answers]))


def compute_auroc(low: NDArray[np.float64], high: NDArray[np.float64]) -> float:
    """Chance that a value of `high` exceeds one of `low`, ties by half (Mann and Whitney 1947)."""
    ranks = stats.rankdata(np.concatenate([low, high]))[len(low) :]
    return float((ranks.sum() - len(high) * (len(high) + 1) / 2) / (len(low) * len(high)))
