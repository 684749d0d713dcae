"""Scores of maps against findings: maps are chosen on validation images, then evaluated."""

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
        chosen: maps whose mean is scored. rule: how they are chosen, in words.
        threshold: share of a map's maximum. on_validation: whether validation images chose it.
        scores: metric -> float64 [n].
    """

    chosen: Candidate
    rule: str
    threshold: float
    on_validation: bool
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
    """Candidates for a finding: its assigned map, or each map and the mean of all."""
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

    Without a located validation image: the mean of all maps, and half of the maximum.
    """
    options = {name: list_finding_candidates(source, name) for name in findings}
    candidates = sorted({candidate for option in options.values() for candidate in option})
    scores = None
    if selection is not None:
        scores = score_finding_maps(source, selection, truth(selection), candidates, tolerance)
    choices = {}
    for column, (name, option) in enumerate(options.items()):
        rule = "its own" if len(option) == 1 else "best on validation"
        rows = [candidates.index(candidate) for candidate in option]
        is_known = np.zeros(0, dtype=bool)
        if scores is not None:
            is_known = np.asarray(~np.isnan(scores.pixel_ap[:, rows, column]).any(axis=1))
        if scores is None or not is_known.any():
            rule = rule if len(option) == 1 else "mean of all, no validation image to choose on"
            choices[name] = (option[-1], rule, 0.5, False)
            continue
        best = rows[int(scores.pixel_ap[:, rows, column][is_known].mean(axis=0).argmax())]
        threshold = find_best_threshold(scores.dice[:, best, column])[1]
        choices[name] = (candidates[best], rule, threshold, True)
    return choices


def localise_findings(
    source: MapSource,
    findings: Sequence[str],
    part: Cohort,
    selection: Cohort | None,
    truth: TruthLoader,
    tolerance: float,
) -> dict[str, FindingScores]:
    """Choose on `selection`, score on `part`: finding -> scores."""
    choices = choose_finding_maps(source, findings, selection, truth, tolerance)
    candidates = sorted({candidate for candidate, *_ in choices.values()})
    scores = score_finding_maps(source, part, truth(part), candidates, tolerance)
    result = {}
    for column, (name, (candidate, rule, threshold, on_validation)) in enumerate(choices.items()):
        map_index = candidates.index(candidate)
        threshold_index = int(np.searchsorted(DICE_THRESHOLDS, threshold - 1e-9))
        metric_scores = {
            "pointing": scores.pointing[:, map_index, column],
            "iou": convert_dice_to_iou(scores.dice[:, map_index, column, threshold_index]),
            "energy": scores.energy[:, map_index, column],
            "pixel_ap": scores.pixel_ap[:, map_index, column],
        }
        result[name] = FindingScores(candidate, rule, threshold, on_validation, metric_scores)
    return result


def estimate_finding_scores(
    finding_scores: dict[str, FindingScores], draws: Resamples, prefix: str, tolerance: float
) -> dict[str, Estimate]:
    """`<prefix>.<pointing|iou|energy|pixel_ap>.<finding>` and `.mean` over the findings.

    Pointing scores that are all 0 or 1 get Wilson's interval, widened where a patient has several
    images.
    """
    result: dict[str, Estimate] = {}
    for metric in FINDING_METRICS:
        estimates = []
        for name, scores in finding_scores.items():
            values = scores.scores[metric]
            facts: dict[str, Any] = {"maps": list(scores.chosen), "choice": scores.rule}
            if metric == "iou":
                facts |= {"threshold": scores.threshold, "threshold_on_validation": scores.on_validation}
            if metric == "pointing":
                facts["tolerance"] = tolerance
            estimate = estimate_mean(values, draws, **facts)
            if metric == "pointing":
                estimate = add_wilson_bounds(estimate, values, draws)
            result[f"{prefix}.{metric}.{name}"] = estimate
            estimates.append(estimate)
        if estimates:
            names = list(finding_scores)
            n = len(draws.patient)
            result[f"{prefix}.{metric}.mean"] = average_estimates(estimates, n, findings=names)
    return result


def add_wilson_bounds(estimate: Estimate, values: Array, draws: Resamples) -> Estimate:
    """The estimate with Wilson's bounds, if all values are 0 or 1; otherwise unchanged."""
    is_known = ~np.isnan(values)
    if not is_known.any() or not np.isin(values[is_known], (0.0, 1.0)).all():
        return estimate
    rate = compute_wilson_rate(values[is_known] == 1, draws.patient[is_known])
    bounds = (rate.low, rate.high)
    return Estimate(estimate.value, estimate.samples, estimate.n, estimate.facts, bounds)
