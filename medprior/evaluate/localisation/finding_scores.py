"""Maps scored against findings: chosen on validation images, then judged on those of the split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from medprior.cohort import Cohort
from medprior.evaluate.localisation.finding_masks import Masks
from medprior.evaluate.localisation.scoring import Candidate, MapSource, combined
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Estimate, Resamples, average, mean_estimate
from medprior.metrics.overlap import iou_of_dice
from medprior.metrics.pixel_ap import (
    THRESHOLDS,
    best_threshold,
    dice_curve,
    pixel_average_precision,
)
from medprior.metrics.pointing_game import energy, pointing
from medprior.metrics.sensitivity import rate

METRICS = ("pointing", "iou", "energy", "pixel_ap")
Truth = Callable[[Cohort], Masks]  # bool [n, K, size, size]


@dataclass(frozen=True)
class Judged:
    """Scores of M candidates against K findings in n images, NaN where a finding is not located.

    Shape:
        pointing, energy, pixel_ap: float64 [n, M, K]. dice: float64 [n, M, K, 99].
    """

    pointing: Array
    energy: Array
    pixel_ap: Array
    dice: Array


@dataclass(frozen=True)
class Found:
    """One source's scores of one finding.

    Attributes:
        chosen: maps whose mean was scored. rule: how they were chosen, in words.
        threshold: share of a map's maximum. measured: whether validation images chose it.
        scores: metric -> float64 [n].
    """

    chosen: Candidate
    rule: str
    threshold: float
    measured: bool
    scores: dict[str, Array]


def judged(
    source: MapSource,
    cohort: Cohort,
    masks: Masks,
    candidates: Sequence[Candidate],
    tolerance: float,
) -> Judged:
    """Score `candidates` against masks [n, K, s, s] on all images of `cohort`."""
    rows: list[tuple[Array, Array, Array, Array]] = []
    with tqdm(total=len(cohort), desc="findings", leave=False, disable=None) as bar:
        for batch in source.batches(cohort, masks.shape[-1]):
            for maps in combined(batch, candidates):
                truth = masks[len(rows)]
                rows.append(
                    (
                        pointing(maps, truth, tolerance),
                        energy(maps, truth),
                        pixel_average_precision(maps, truth),
                        dice_curve(maps, truth),
                    )
                )
            bar.update(len(batch))
    return Judged(*(np.stack(part) for part in zip(*rows, strict=True)))


def offered(source: MapSource, finding: str) -> list[Candidate]:
    """Maps that may stand for a finding: its own, or each of them and the mean of all."""
    if finding in source.assigned:
        return [(source.assigned[finding],)]
    return [*((index,) for index in range(source.count)), tuple(range(source.count))]


def choose(
    source: MapSource,
    findings: Sequence[str],
    selection: Cohort | None,
    truth: Truth,
    tolerance: float,
) -> dict[str, tuple[Candidate, str, float, bool]]:
    """Finding -> (maps, rule, threshold, whether validation chose it), by mean pixel-AP and Dice.

    Without a located image to choose on: the mean of all maps, and half of the maximum.
    """
    offers = {name: offered(source, name) for name in findings}
    every = sorted({candidate for offer in offers.values() for candidate in offer})
    scores = None
    if selection is not None:
        scores = judged(source, selection, truth(selection), every, tolerance)
    chosen = {}
    for column, (name, offer) in enumerate(offers.items()):
        rule = "its own" if len(offer) == 1 else "best on validation"
        rows = [every.index(candidate) for candidate in offer]
        known = np.zeros(0, dtype=bool)
        if scores is not None:
            known = np.asarray(~np.isnan(scores.pixel_ap[:, rows, column]).any(axis=1))
        if scores is None or not known.any():
            rule = rule if len(offer) == 1 else "mean of all, no validation image to choose on"
            chosen[name] = (offer[-1], rule, 0.5, False)
            continue
        best = rows[int(scores.pixel_ap[:, rows, column][known].mean(axis=0).argmax())]
        threshold = best_threshold(scores.dice[:, best, column])[1]
        chosen[name] = (every[best], rule, threshold, True)
    return chosen


def find(
    source: MapSource,
    findings: Sequence[str],
    part: Cohort,
    selection: Cohort | None,
    truth: Truth,
    tolerance: float,
) -> dict[str, Found]:
    """Choose on `selection`, score on `part`: finding -> scores."""
    chosen = choose(source, findings, selection, truth, tolerance)
    candidates = sorted({candidate for candidate, *_ in chosen.values()})
    scores = judged(source, part, truth(part), candidates, tolerance)
    result = {}
    for column, (name, (candidate, rule, threshold, measured)) in enumerate(chosen.items()):
        row = candidates.index(candidate)
        level = int(np.searchsorted(THRESHOLDS, threshold - 1e-9))
        own = {
            "pointing": scores.pointing[:, row, column],
            "iou": iou_of_dice(scores.dice[:, row, column, level]),
            "energy": scores.energy[:, row, column],
            "pixel_ap": scores.pixel_ap[:, row, column],
        }
        result[name] = Found(candidate, rule, threshold, measured, own)
    return result


def finding_estimates(
    found: dict[str, Found], draws: Resamples, prefix: str, tolerance: float
) -> dict[str, Estimate]:
    """`<prefix>.<pointing|iou|energy|pixel_ap>.<finding>` and `.mean` over the findings.

    The hit rate of a map that has one maximum in every image has Wilson's interval, widened where a
    patient has several images.
    """
    result: dict[str, Estimate] = {}
    for metric in METRICS:
        single = []
        for name, one in found.items():
            values = one.scores[metric]
            facts: dict[str, Any] = {"maps": list(one.chosen), "choice": one.rule}
            if metric == "iou":
                facts |= {"threshold": one.threshold, "threshold_on_validation": one.measured}
            if metric == "pointing":
                facts["tolerance"] = tolerance
            estimate = mean_estimate(values, draws, **facts)
            if metric == "pointing":
                estimate = with_wilson(estimate, values, draws)
            result[f"{prefix}.{metric}.{name}"] = estimate
            single.append(estimate)
        if single:
            names = list(found)
            n = len(draws.patient)
            result[f"{prefix}.{metric}.mean"] = average(single, n, findings=names)
    return result


def with_wilson(estimate: Estimate, values: Array, draws: Resamples) -> Estimate:
    """The same estimate with Wilson's bounds, where all values are 0 or 1."""
    known = ~np.isnan(values)
    if not known.any() or not np.isin(values[known], (0.0, 1.0)).all():
        return estimate
    found = rate(values[known] == 1, draws.patient[known])
    bounds = (found.low, found.high)
    return Estimate(estimate.value, estimate.samples, estimate.n, estimate.facts, bounds)
