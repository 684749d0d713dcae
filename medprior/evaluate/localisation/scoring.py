"""Localisation scores of maps against structure masks, with heads chosen on validation images."""

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
from medprior.evaluate.study import add_structure_means
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Estimate, Resamples, estimate_mean
from medprior.metrics.overlap import compute_dice, convert_dice_to_iou
from medprior.metrics.pixel_ap import (
    DICE_THRESHOLDS,
    compute_dice_curve,
    compute_pixel_ap,
    find_best_threshold,
    threshold_by_mass,
)

SoftMaps = NDArray[np.float32]
Candidate = tuple[int, ...]  # indices of maps whose mean is scored
ANNOTATED_IOU_KEY = "iou_at_annotated_threshold"


class MapSource(Protocol):
    """A source of soft maps, the same number for every image of a cohort.

    Attributes:
        assigned: structure -> index of its map.
        count: number of maps M.
        has_selectable_maps: whether a structure without an assigned map may use the best one.
    """

    assigned: dict[str, int]
    count: int
    has_selectable_maps: bool

    def batches(self, cohort: Cohort, size: int) -> Iterator[SoftMaps]:
        """Maps of the images in order, float32 [b, M, size, size] >= 0 on unit squares."""
        ...


@dataclass(frozen=True)
class StructureScores:
    """Scores of M candidates against K targets in n images; NaN where a mask is empty or unknown.

    Shape:
        ap, iou60: float64 [n, M, K]. dice: float64 [n, M, K, 99], one for each of `DICE_THRESHOLDS`.
    """

    ap: Array
    iou60: Array
    dice: Array


@dataclass(frozen=True)
class Localisation:
    """One source's scores on one split.

    Attributes:
        chosen: target -> maps whose mean is scored.
        rule: target -> "assigned" or "best on validation".
        threshold: target -> share of a map's maximum, chosen on validation.
        ap, iou60, dice: target -> float64 [n].
        oracle: target -> float64 [n], the best single map of each image; an upper bound.
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
    source: MapSource, cohort: Cohort, targets: Targets, candidates: Sequence[Candidate], size: int
) -> StructureScores:
    """Score `candidates` against every target on all images of `cohort`."""
    masks = load_true_masks(cohort, targets, size)
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
    """Candidates for a target: its assigned map, or every map (for `lungs` every pair too)."""
    assigned = find_target_maps(target, source.assigned)
    if assigned is not None:
        return [assigned]
    if not source.has_selectable_maps:
        return []
    singles: list[Candidate] = [(index,) for index in range(source.count)]
    # A source with a head per lung is scored on the mean of both, so another may choose a pair too.
    return singles + (list(combinations(range(source.count), 2)) if target == LUNGS_TARGET else [])


def choose_structure_maps(
    source: MapSource, selection: Cohort | None, targets: Targets, size: int
) -> tuple[dict[str, Candidate], dict[str, float]]:
    """The candidate of each target with the best mean pixel-AP on `selection`, and its threshold.

    A target is left out when it has no candidate, or several and no mask in `selection`.
    """
    options = {target: list_structure_candidates(source, target) for target in targets}
    candidates = sorted({candidate for option in options.values() for candidate in option})
    if selection is None or not candidates:
        chosen = {target: option[0] for target, option in options.items() if len(option) == 1}
        return chosen, dict.fromkeys(chosen, 0.5)
    scores = score_candidates(source, selection, targets, candidates, size)
    chosen, thresholds = {}, {}
    for target_index, (target, option) in enumerate(options.items()):
        columns = [candidates.index(candidate) for candidate in option]
        ap = scores.ap[:, columns, target_index]
        is_known = ~np.isnan(ap).any(axis=1)
        if not columns or (len(columns) > 1 and not is_known.any()):
            continue
        best = columns[int(ap[is_known].mean(axis=0).argmax())] if is_known.any() else columns[0]
        chosen[target] = candidates[best]
        thresholds[target] = find_best_threshold(scores.dice[:, best, target_index])[1]
    return chosen, thresholds


def localise_structures(
    source: MapSource,
    cohort: Cohort,
    selection: Cohort | None,
    targets: Targets,
    size: int,
    annotated: Cohort | None = None,
) -> Localisation:
    """Choose on `selection`, score on `cohort`; `annotated` images give a second threshold."""
    chosen, thresholds = choose_structure_maps(source, selection, targets, size)
    targets = {target: targets[target] for target in chosen}
    if not targets:
        return Localisation({}, {}, {}, {}, {}, {}, {})
    singles: list[Candidate] = [(index,) for index in range(source.count)]
    has_selectable_maps = source.has_selectable_maps
    candidates = sorted({*chosen.values(), *(singles if has_selectable_maps else [])})
    scores = score_candidates(source, cohort, targets, candidates, size)
    indices = {target: (candidates.index(chosen[target]), k) for k, target in enumerate(targets)}
    single_indices = [candidates.index(single) for single in singles] if has_selectable_maps else []
    threshold_index = {t: int(np.searchsorted(DICE_THRESHOLDS, thresholds[t] - 1e-9)) for t in targets}
    is_assigned = {t: find_target_maps(t, source.assigned) is not None for t in targets}
    annotated_scores = score_candidates(source, annotated, targets, candidates, size) if annotated is not None else None
    return Localisation(
        chosen=chosen,
        rule={t: "assigned" if is_assigned[t] else "best on validation" for t in targets},
        threshold=thresholds,
        ap={t: scores.ap[:, m, k] for t, (m, k) in indices.items()},
        iou60={t: scores.iou60[:, m, k] for t, (m, k) in indices.items()},
        dice={t: scores.dice[:, m, k, threshold_index[t]] for t, (m, k) in indices.items()},
        oracle={t: scores.ap[:, single_indices, k].max(axis=1) for t, (_, k) in indices.items() if has_selectable_maps},
        annotated={
            t: apply_best_threshold(annotated_scores.dice[:, m, k], scores.dice[:, m, k])
            for t, (m, k) in indices.items()
            if annotated_scores is not None and not np.isnan(annotated_scores.dice[:, m, k]).any(axis=1).all()
        },
    )


def apply_best_threshold(selection: Array, evaluated: Array) -> tuple[float, Array]:
    """Best threshold for the curves `selection` [m, 99], and the Dice [n] of `evaluated` at it."""
    index, threshold = find_best_threshold(selection)
    return threshold, evaluated[:, index]


def estimate_localisation(localisation: Localisation, draws: Resamples, prefix: str) -> dict[str, Estimate]:
    """Estimates `<prefix>.<metric>.<target>` of every metric, and `.mean` over the targets."""
    result: dict[str, Estimate] = {}
    for target, candidate in localisation.chosen.items():
        facts = {"maps": list(candidate), "choice": localisation.rule[target]}
        result[f"{prefix}.pixel_ap.{target}"] = estimate_mean(localisation.ap[target], draws, **facts)
        result[f"{prefix}.iou60.{target}"] = estimate_mean(localisation.iou60[target], draws)
        dice, share = localisation.dice[target], localisation.threshold[target]
        result[f"{prefix}.dice_at_threshold.{target}"] = estimate_mean(dice, draws, threshold=share)
        result[f"{prefix}.iou_at_threshold.{target}"] = estimate_mean(convert_dice_to_iou(dice), draws, threshold=share)
    for target, (threshold, values) in localisation.annotated.items():
        estimate = estimate_mean(convert_dice_to_iou(values), draws, threshold=threshold)
        result[f"{prefix}.{ANNOTATED_IOU_KEY}.{target}"] = estimate
    for target, values in localisation.oracle.items():
        facts = {"choice": "oracle per image"}
        result[f"{prefix}.oracle_pixel_ap.{target}"] = estimate_mean(values, draws, **facts)
    metrics = ("pixel_ap", "iou60", "dice_at_threshold", "iou_at_threshold", ANNOTATED_IOU_KEY, "oracle_pixel_ap")
    add_structure_means(result, [f"{prefix}.{metric}" for metric in metrics])
    return {key: estimate for key, estimate in result.items() if estimate.n}
