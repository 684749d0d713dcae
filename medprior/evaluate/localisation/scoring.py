"""How well maps find structures: heads chosen on validation, then scored on the split asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from medprior.cohort import Cohort
from medprior.evaluate.localisation.targets import LUNGS_TARGET, Targets, find_target_maps, load_true_masks
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Estimate, Resamples, average_estimates, estimate_mean
from medprior.metrics.overlap import compute_dice, convert_dice_to_iou
from medprior.metrics.pixel_ap import (
    DICE_THRESHOLDS,
    compute_dice_curve,
    compute_pixel_ap,
    find_best_threshold,
    threshold_by_mass,
)

SoftMaps = NDArray[np.float32]
Candidate = tuple[int, ...]  # maps whose mean is one candidate
ANNOTATED_IOU_KEY = "iou_at_annotated_threshold"


class MapSource(Protocol):
    """Anything that gives every image of a cohort the same number of soft maps.

    Attributes:
        assigned: structure -> the map meant for it.
        count: number of maps M.
        searchable: whether a structure without a map of its own may take the best one.
    """

    assigned: dict[str, int]
    count: int
    searchable: bool

    def batches(self, cohort: Cohort, size: int) -> Iterator[SoftMaps]:
        """Maps of the images in order, float32 [b, M, size, size] >= 0 on unit squares."""
        ...


@dataclass(frozen=True)
class StructureScores:
    """Scores of M candidates against K targets in n images; NaN where a mask is empty or unknown.

    Shape:
        ap, iou60: float64 [n, M, K]. dice: float64 [n, M, K, 99], one for each of `THRESHOLDS`.
    """

    ap: Array
    iou60: Array
    dice: Array


@dataclass(frozen=True)
class Localisation:
    """One source's scores on one split.

    Attributes:
        chosen: target -> maps whose mean was scored.
        rule: target -> "assigned" or "best on validation".
        threshold: target -> share of a map's maximum, chosen on validation.
        ap, iou60, dice: target -> float64 [n].
        oracle: target -> float64 [n], the best single map image by image; no fair choice.
        annotated: target -> threshold chosen on annotated images, with Dice at it, float64 [n].
    """

    chosen: dict[str, Candidate]
    rule: dict[str, str]
    threshold: dict[str, float]
    ap: dict[str, Array]
    iou60: dict[str, Array]
    dice: dict[str, Array]
    oracle: dict[str, Array]
    annotated: dict[str, tuple[float, Array]] = field(default_factory=dict)


def average_candidates(maps: SoftMaps, candidates: Sequence[Candidate]) -> SoftMaps:
    """Mean of each candidate's maps: float32 [b, len(candidates), h, w] from [b, M, h, w]."""
    return np.stack([maps[:, list(candidate)].mean(axis=1) for candidate in candidates], axis=1)


def score_candidates(
    source: MapSource, cohort: Cohort, wanted: Targets, candidates: Sequence[Candidate], size: int
) -> StructureScores:
    """Score `candidates` against every target on all images of `cohort`."""
    masks = load_true_masks(cohort, wanted, size)
    ap: list[Array] = []
    iou60: list[Array] = []
    curves: list[Array] = []
    with tqdm(total=len(cohort), desc="maps", leave=False, disable=None) as bar:
        for batch in source.batches(cohort, size):
            for maps in average_candidates(batch, candidates):
                truth = masks[len(ap)]
                ap.append(compute_pixel_ap(maps, truth))
                iou60.append(convert_dice_to_iou(compute_dice(threshold_by_mass(maps)[:, None], truth[None])))
                curves.append(compute_dice_curve(maps, truth))
            bar.update(len(batch))
    return StructureScores(np.stack(ap), np.stack(iou60), np.stack(curves))


def list_structure_candidates(source: MapSource, target: str) -> list[Candidate]:
    """Candidates for a target: its own map, or every map (and for `lungs` every pair of them)."""
    own = find_target_maps(target, source.assigned)
    if own is not None:
        return [own]
    if not source.searchable:
        return []
    singles: list[Candidate] = [(index,) for index in range(source.count)]
    # A source with a head per lung is scored on the mean of two; another may choose two as well.
    return singles + (list(combinations(range(source.count), 2)) if target == LUNGS_TARGET else [])


def choose_structure_maps(
    source: MapSource, selection: Cohort | None, wanted: Targets, size: int
) -> tuple[dict[str, Candidate], dict[str, float]]:
    """The candidate of each target with the best mean pixel-AP on `selection`, and its threshold.

    A target is left out when it has no candidate, or several and no mask to choose on.
    """
    offers = {target: list_structure_candidates(source, target) for target in wanted}
    candidates = sorted({candidate for offer in offers.values() for candidate in offer})
    if selection is None or not candidates:
        chosen = {target: offer[0] for target, offer in offers.items() if len(offer) == 1}
        return chosen, dict.fromkeys(chosen, 0.5)
    scores = score_candidates(source, selection, wanted, candidates, size)
    chosen, thresholds = {}, {}
    for column, (target, offer) in enumerate(offers.items()):
        rows = [candidates.index(candidate) for candidate in offer]
        ap = scores.ap[:, rows, column]
        known = ~np.isnan(ap).any(axis=1)
        if not rows or (len(rows) > 1 and not known.any()):
            continue
        best = rows[int(ap[known].mean(axis=0).argmax())] if known.any() else rows[0]
        chosen[target] = candidates[best]
        thresholds[target] = find_best_threshold(scores.dice[:, best, column])[1]
    return chosen, thresholds


def localise_structures(
    source: MapSource,
    cohort: Cohort,
    selection: Cohort | None,
    wanted: Targets,
    size: int,
    annotated: Cohort | None = None,
) -> Localisation:
    """Choose on `selection`, score on `cohort`; with `annotated`, a threshold from there too."""
    chosen, thresholds = choose_structure_maps(source, selection, wanted, size)
    wanted = {target: wanted[target] for target in chosen}
    if not wanted:
        return Localisation({}, {}, {}, {}, {}, {}, {})
    singles: list[Candidate] = [(index,) for index in range(source.count)]
    free = source.searchable
    candidates = sorted({*chosen.values(), *(singles if free else [])})
    scores = score_candidates(source, cohort, wanted, candidates, size)
    at = {target: (candidates.index(chosen[target]), k) for k, target in enumerate(wanted)}
    alone = [candidates.index(single) for single in singles] if free else []
    level = {t: int(np.searchsorted(DICE_THRESHOLDS, thresholds[t] - 1e-9)) for t in wanted}
    own = {t: find_target_maps(t, source.assigned) is not None for t in wanted}
    drawn = score_candidates(source, annotated, wanted, candidates, size) if annotated is not None else None
    return Localisation(
        chosen=chosen,
        rule={t: "assigned" if own[t] else "best on validation" for t in wanted},
        threshold=thresholds,
        ap={t: scores.ap[:, m, k] for t, (m, k) in at.items()},
        iou60={t: scores.iou60[:, m, k] for t, (m, k) in at.items()},
        dice={t: scores.dice[:, m, k, level[t]] for t, (m, k) in at.items()},
        oracle={t: scores.ap[:, alone, k].max(axis=1) for t, (_, k) in at.items() if free},
        annotated={
            t: apply_best_threshold(drawn.dice[:, m, k], scores.dice[:, m, k])
            for t, (m, k) in at.items()
            if drawn is not None and not np.isnan(drawn.dice[:, m, k]).any(axis=1).all()
        },
    )


def apply_best_threshold(chosen_on: Array, judged: Array) -> tuple[float, Array]:
    """The threshold best for the curves `chosen_on` [m, 99], and the Dice of `judged` at it [n]."""
    index, threshold = find_best_threshold(chosen_on)
    return threshold, judged[:, index]


def estimate_localisation(found: Localisation, draws: Resamples, prefix: str) -> dict[str, Estimate]:
    """Estimates under `<prefix>.pixel_ap.<target>` and its companions, with a mean over targets."""
    result: dict[str, Estimate] = {}
    for target, candidate in found.chosen.items():
        facts = {"maps": list(candidate), "choice": found.rule[target]}
        result[f"{prefix}.pixel_ap.{target}"] = estimate_mean(found.ap[target], draws, **facts)
        result[f"{prefix}.iou60.{target}"] = estimate_mean(found.iou60[target], draws)
        cut = {"threshold": found.threshold[target]}
        result[f"{prefix}.dice_at_threshold.{target}"] = estimate_mean(found.dice[target], draws, **cut)
        result[f"{prefix}.iou_at_threshold.{target}"] = estimate_mean(
            convert_dice_to_iou(found.dice[target]), draws, **cut
        )
    for target, (threshold, values) in found.annotated.items():
        one = estimate_mean(convert_dice_to_iou(values), draws, threshold=threshold)
        result[f"{prefix}.{ANNOTATED_IOU_KEY}.{target}"] = one
    for target, values in found.oracle.items():
        note = {"choice": "oracle per image"}
        result[f"{prefix}.oracle_pixel_ap.{target}"] = estimate_mean(values, draws, **note)
    for metric in (
        "pixel_ap",
        "iou60",
        "dice_at_threshold",
        "iou_at_threshold",
        ANNOTATED_IOU_KEY,
        "oracle_pixel_ap",
    ):
        single = {k: e for k, e in result.items() if k.startswith(f"{prefix}.{metric}.")}
        if single:
            names = [key.rpartition(".")[2] for key in single]
            n = max(estimate.n for estimate in single.values())
            mean = average_estimates(list(single.values()), n, structures=names)
            result[f"{prefix}.{metric}.mean"] = mean
    return {key: estimate for key, estimate in result.items() if estimate.n}
