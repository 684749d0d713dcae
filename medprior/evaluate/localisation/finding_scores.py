"""Maps scored against findings: chosen on validation images, then judged on those of the split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from medprior.cohort import Cohort
from medprior.evaluate.localisation.finding_masks import FindingMasks
from medprior.evaluate.localisation.scoring import Candidate, MapSource, average_candidates
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Estimate, Resamples, average_estimates, estimate_mean
from medprior.metrics.overlap import convert_dice_to_iou
from medprior.metrics.pixel_ap import (
    DICE_THRESHOLDS,
    compute_dice_curve,
    compute_pixel_ap,
    find_best_threshold,
)
from medprior.metrics.pointing_game import compute_energy_pointing, compute_pointing_game
from medprior.metrics.sensitivity import compute_wilson_rate

FINDING_METRICS = ("pointing", "iou", "energy", "pixel_ap")
TruthLoader = Callable[[Cohort], FindingMasks]  # bool [n, K, size, size]


@dataclass(frozen=True)
class FindingMapScores:
    """Scores of M candidates against K findings in n images, NaN where a finding is not located.

    Shape:
        pointing, energy, pixel_ap: float64 [n, M, K]. dice: float64 [n, M, K, 99].
    """

    pointing: Array
    energy: Array
    pixel_ap: Array
    dice: Array


@dataclass(frozen=True)
class FindingScores:
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


def score_finding_maps(
    source: MapSource,
    cohort: Cohort,
    masks: FindingMasks,
    candidates: Sequence[Candidate],
    tolerance: float,
) -> FindingMapScores:
    """Score `candidates` against masks [n, K, s, s] on all images of `cohort`."""
    rows: list[tuple[Array, Array, Array, Array]] = []
    with tqdm(total=len(cohort), desc="findings", leave=False, disable=None) as bar:
        for batch in source.batches(cohort, masks.shape[-1]):
            for maps in average_candidates(batch, candidates):
                truth = masks[len(rows)]
                rows.append(
                    (
                        compute_pointing_game(maps, truth, tolerance),
                        compute_energy_pointing(maps, truth),
                        compute_pixel_ap(maps, truth),
                        compute_dice_curve(maps, truth),
                    )
                )
            bar.update(len(batch))
    return FindingMapScores(*(np.stack(part) for part in zip(*rows, strict=True)))


def list_finding_candidates(source: MapSource, finding: str) -> list[Candidate]:
    """Maps that may stand for a finding: its own, or each of them and the mean of all."""
    if finding in source.assigned:
        return [(source.assigned[finding],)]
    return [*((index,) for index in range(source.count)), tuple(range(source.count))]


def choose_finding_maps(
    source: MapSource,
    findings: Sequence[str],
    selection: Cohort | None,
    truth: TruthLoader,
    tolerance: float,
) -> dict[str, tuple[Candidate, str, float, bool]]:
    """Finding -> (maps, rule, threshold, whether validation chose it), by mean pixel-AP and Dice.

    Without a located image to choose on: the mean of all maps, and half of the maximum.
    """
    offers = {name: list_finding_candidates(source, name) for name in findings}
    every = sorted({candidate for offer in offers.values() for candidate in offer})
    scores = None
    if selection is not None:
        scores = score_finding_maps(source, selection, truth(selection), every, tolerance)
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
        threshold = find_best_threshold(scores.dice[:, best, column])[1]
        chosen[name] = (every[best], rule, threshold, True)
    return chosen


def localise_findings(
    source: MapSource,
    findings: Sequence[str],
    part: Cohort,
    selection: Cohort | None,
    truth: TruthLoader,
    tolerance: float,
) -> dict[str, FindingScores]:
    """Choose on `selection`, score on `part`: finding -> scores."""
    chosen = choose_finding_maps(source, findings, selection, truth, tolerance)
    candidates = sorted({candidate for candidate, *_ in chosen.values()})
    scores = score_finding_maps(source, part, truth(part), candidates, tolerance)
    result = {}
    for column, (name, (candidate, rule, threshold, measured)) in enumerate(chosen.items()):
        row = candidates.index(candidate)
        level = int(np.searchsorted(DICE_THRESHOLDS, threshold - 1e-9))
        own = {
            "pointing": scores.pointing[:, row, column],
            "iou": convert_dice_to_iou(scores.dice[:, row, column, level]),
            "energy": scores.energy[:, row, column],
            "pixel_ap": scores.pixel_ap[:, row, column],
        }
        result[name] = FindingScores(candidate, rule, threshold, measured, own)
    return result


def estimate_finding_scores(
    found: dict[str, FindingScores], draws: Resamples, prefix: str, tolerance: float
) -> dict[str, Estimate]:
    """`<prefix>.<pointing|iou|energy|pixel_ap>.<finding>` and `.mean` over the findings.

    The hit rate of a map that has one maximum in every image has Wilson's interval, widened where a
    patient has several images.
    """
    result: dict[str, Estimate] = {}
    for metric in FINDING_METRICS:
        single = []
        for name, one in found.items():
            values = one.scores[metric]
            facts: dict[str, Any] = {"maps": list(one.chosen), "choice": one.rule}
            if metric == "iou":
                facts |= {"threshold": one.threshold, "threshold_on_validation": one.measured}
            if metric == "pointing":
                facts["tolerance"] = tolerance
            estimate = estimate_mean(values, draws, **facts)
            if metric == "pointing":
                estimate = add_wilson_bounds(estimate, values, draws)
            result[f"{prefix}.{metric}.{name}"] = estimate
            single.append(estimate)
        if single:
            names = list(found)
            n = len(draws.patient)
            result[f"{prefix}.{metric}.mean"] = average_estimates(single, n, findings=names)
    return result


def add_wilson_bounds(estimate: Estimate, values: Array, draws: Resamples) -> Estimate:
    """The same estimate with Wilson's bounds, where all values are 0 or 1."""
    known = ~np.isnan(values)
    if not known.any() or not np.isin(values[known], (0.0, 1.0)).all():
        return estimate
    found = compute_wilson_rate(values[known] == 1, draws.patient[known])
    bounds = (found.low, found.high)
    return Estimate(estimate.value, estimate.samples, estimate.n, estimate.facts, bounds)
