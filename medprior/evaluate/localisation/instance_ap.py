"""COCO-style average precision of mask instances: pieces of an attention map against organs.

A map's pieces are the connected parts of the smallest set of pixels that holds 60 % of its mass,
each with the share of the mass it holds as its score. Pieces below 1 % of the image are dropped.
Matching and interpolation follow COCO (Lin et al. 2014): IoU 0.50 to 0.95 in steps of 0.05, 101
recall points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medprior.cohort import Cohort
from medprior.evaluate.localisation.scoring import Localisation, MapSource, average_candidates
from medprior.evaluate.localisation.targets import LUNGS_TARGET, Targets, load_true_masks
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Estimate, Resamples, average_estimates
from medprior.metrics.pixel_ap import threshold_by_mass

InstanceMasks = NDArray[np.bool_]
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0, 1, 101)
MIN_PIECE_AREA = 0.01
CONNECTIVITY = np.ones((3, 3))


@dataclass(frozen=True)
class Detections:
    """All pieces of one structure over a data set.

    Shape:
        image: intp [d]. score: float64 [d] in [0, 1]. hit: bool [10, d], matched at each IoU.
        objects: intp [n], number of instances per image.
    """

    image: NDArray[np.intp]
    score: Array
    hit: NDArray[np.bool_]
    objects: NDArray[np.intp]


def extract_map_instances(values: NDArray[np.float32]) -> tuple[InstanceMasks, Array]:
    """Pieces of one map [h, w] >= 0: bool [p, h, w], largest score first, and scores [p]."""
    total = float(values.sum(dtype=np.float64))
    labels, count = ndimage.label(threshold_by_mass(values[None])[0], CONNECTIVITY)
    masks = labels == np.arange(1, count + 1)[:, None, None]
    masks = masks[masks.mean(axis=(1, 2)) >= MIN_PIECE_AREA]
    score = np.array([values[m].sum(dtype=np.float64) / total for m in masks])
    order = np.argsort(-score, kind="stable")
    return masks[order], score[order]


def extract_mask_instances(mask: InstanceMasks, count: int) -> InstanceMasks:
    """The `count` largest connected parts of a mask [h, w]: bool [<= count, h, w]."""
    labels, component_count = ndimage.label(mask, CONNECTIVITY)
    sizes = np.bincount(labels.ravel(), minlength=component_count + 1)[1:]
    largest = 1 + np.argsort(-sizes, kind="stable")[:count]
    return np.asarray(labels == largest[:, None, None])


def match_instances(pieces: InstanceMasks, truth: InstanceMasks) -> NDArray[np.bool_]:
    """Which pieces match an instance, at each IoU: bool [10, p]; each instance at most once."""
    hit = np.zeros((len(IOU_THRESHOLDS), len(pieces)), dtype=bool)
    if not len(pieces) or not len(truth):
        return hit
    piece_rows, truth_rows = (masks.reshape(len(masks), -1).astype(np.float64) for masks in (pieces, truth))
    intersection = piece_rows @ truth_rows.T
    iou = intersection / (piece_rows.sum(1)[:, None] + truth_rows.sum(1) - intersection)
    for row, threshold in enumerate(IOU_THRESHOLDS):
        unmatched = np.ones(len(truth), dtype=bool)
        for piece in range(len(pieces)):
            best = int(np.argmax(np.where(unmatched, iou[piece], -1)))
            if unmatched[best] and iou[piece, best] >= threshold:
                hit[row, piece], unmatched[best] = True, False
    return hit


def compute_instance_ap(detections: Detections, weight: Array) -> float:
    """Mean AP over the ten IoUs with images counted `weight` [n] times; NaN without instances."""
    order = np.argsort(-detections.score, kind="stable")
    weights = weight[detections.image[order]]
    objects = float((weight * detections.objects).sum())
    if objects == 0:
        return float("nan")
    values = []
    for hit in detections.hit[:, order]:
        true_positives, detected = np.cumsum(weights * hit), np.cumsum(weights)
        has_weight = detected > 0
        precision = true_positives[has_weight] / detected[has_weight]
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        indices = np.searchsorted(true_positives[has_weight] / objects, RECALL_POINTS - 1e-12, side="left")
        is_reached = indices < len(precision)
        values.append(float(precision[indices[is_reached]].sum() / len(RECALL_POINTS)))
    return float(np.mean(values))


def detect_map_instances(
    source: MapSource, cohort: Cohort, targets: Targets, localisation: Localisation, size: int
) -> dict[str, Detections]:
    """Pieces of the chosen maps of every target, matched with its instances.

    `lungs` has two instances, any other target one; images without the mask are left out.
    """
    names = list(localisation.chosen)
    true_masks = load_true_masks(cohort, {name: targets[name] for name in names}, size)
    rows: dict[str, list[tuple[int, Array, NDArray[np.bool_]]]] = {name: [] for name in names}
    objects = {name: np.zeros(len(cohort), dtype=np.intp) for name in names}
    row = 0
    for batch in source.batches(cohort, size):
        for maps in average_candidates(batch, [localisation.chosen[name] for name in names]):
            for column, name in enumerate(names):
                if not true_masks[row, column].any():
                    continue
                instances = extract_mask_instances(true_masks[row, column], 2 if name == LUNGS_TARGET else 1)
                pieces, score = extract_map_instances(maps[column])
                objects[name][row] = len(instances)
                rows[name].append((row, score, match_instances(pieces, instances)))
            row += 1
    return {name: concatenate_detections(rows[name], objects[name]) for name in names}


def concatenate_detections(
    rows: Sequence[tuple[int, Array, NDArray[np.bool_]]], objects: NDArray[np.intp]
) -> Detections:
    """Detections of a data set from (image, scores, hits) of its images."""
    image = [np.full(len(score), number, dtype=np.intp) for number, score, _ in rows]
    empty = np.zeros((len(IOU_THRESHOLDS), 0), dtype=bool)
    return Detections(
        np.concatenate([*image, np.zeros(0, dtype=np.intp)]),
        np.concatenate([*(score for _, score, _ in rows), np.zeros(0)]),
        np.concatenate([*(hit for _, _, hit in rows), empty], axis=1),
        objects,
    )


def estimate_instance_ap(
    source: MapSource,
    cohort: Cohort,
    targets: Targets,
    localisation: Localisation,
    draws: Resamples,
    size: int,
    prefix: str,
) -> dict[str, Estimate]:
    """`<prefix>.instance_ap.<target>` and `.mean`, over the resamples of patients."""
    result = {}
    for name, detections in detect_map_instances(source, cohort, targets, localisation, size).items():
        weights = np.concatenate(draws.blocks, axis=1)[draws.patient]
        samples = np.array([compute_instance_ap(detections, sample) for sample in weights.T.astype(np.float64)])
        value = compute_instance_ap(detections, np.ones(len(cohort)))
        n = int((detections.objects > 0).sum())
        result[f"{prefix}.instance_ap.{name}"] = Estimate(value, samples, n, {})
    if result:
        result[f"{prefix}.instance_ap.mean"] = average_estimates(list(result.values()), len(cohort))
    return result
