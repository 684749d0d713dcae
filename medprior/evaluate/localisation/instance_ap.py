"""AP of mask instances, as COCO counts it: pieces of an attention map against whole organs.

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
        objects: intp [n], how many instances each image has.
    """

    image: NDArray[np.intp]
    score: Array
    hit: NDArray[np.bool_]
    objects: NDArray[np.intp]


def extract_pieces(values: NDArray[np.float32]) -> tuple[InstanceMasks, Array]:
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
    labels, found = ndimage.label(mask, CONNECTIVITY)
    sizes = np.bincount(labels.ravel(), minlength=found + 1)[1:]
    largest = 1 + np.argsort(-sizes, kind="stable")[:count]
    return np.asarray(labels == largest[:, None, None])


def match_pieces(found: InstanceMasks, truth: InstanceMasks) -> NDArray[np.bool_]:
    """Which pieces match an instance, at each IoU: bool [10, p]; each instance at most once."""
    hit = np.zeros((len(IOU_THRESHOLDS), len(found)), dtype=bool)
    if not len(found) or not len(truth):
        return hit
    a, b = (m.reshape(len(m), -1).astype(np.float64) for m in (found, truth))
    both = a @ b.T
    iou = both / (a.sum(1)[:, None] + b.sum(1) - both)
    for row, least in enumerate(IOU_THRESHOLDS):
        free = np.ones(len(truth), dtype=bool)
        for piece in range(len(found)):
            best = int(np.argmax(np.where(free, iou[piece], -1)))
            if free[best] and iou[piece, best] >= least:
                hit[row, piece], free[best] = True, False
    return hit


def compute_instance_ap(found: Detections, weight: Array) -> float:
    """Mean AP over the ten IoUs with images counted `weight` [n] times; NaN without instances."""
    order = np.argsort(-found.score, kind="stable")
    drawn = weight[found.image[order]]
    objects = float((weight * found.objects).sum())
    if objects == 0:
        return float("nan")
    values = []
    for hit in found.hit[:, order]:
        true, every = np.cumsum(drawn * hit), np.cumsum(drawn)
        kept = every > 0
        precision = true[kept] / every[kept]
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(true[kept] / objects, RECALL_POINTS - 1e-12, side="left")
        inside = at < len(precision)
        values.append(float(precision[at[inside]].sum() / len(RECALL_POINTS)))
    return float(np.mean(values))


def detect_pieces(
    source: MapSource, cohort: Cohort, wanted: Targets, found: Localisation, size: int
) -> dict[str, Detections]:
    """Pieces of the chosen maps of every target, matched with its instances.

    `lungs` has two instances, any other target one; images without the mask are left out.
    """
    names = list(found.chosen)
    truth = load_true_masks(cohort, {name: wanted[name] for name in names}, size)
    rows: dict[str, list[tuple[int, Array, NDArray[np.bool_]]]] = {name: [] for name in names}
    objects = {name: np.zeros(len(cohort), dtype=np.intp) for name in names}
    image = 0
    for batch in source.batches(cohort, size):
        for maps in average_candidates(batch, [found.chosen[name] for name in names]):
            for column, name in enumerate(names):
                if not truth[image, column].any():
                    continue
                there = extract_mask_instances(truth[image, column], 2 if name == LUNGS_TARGET else 1)
                parts, score = extract_pieces(maps[column])
                objects[name][image] = len(there)
                rows[name].append((image, score, match_pieces(parts, there)))
            image += 1
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
    wanted: Targets,
    found: Localisation,
    draws: Resamples,
    size: int,
    prefix: str,
) -> dict[str, Estimate]:
    """`<prefix>.instance_ap.<target>` and `.mean`, over the resamples of patients."""
    result = {}
    for name, parts in detect_pieces(source, cohort, wanted, found, size).items():
        every = np.concatenate([block for block in draws.blocks], axis=1)[draws.patient]
        samples = np.array([compute_instance_ap(parts, w) for w in every.T.astype(np.float64)])
        value = compute_instance_ap(parts, np.ones(len(cohort)))
        n = int((parts.objects > 0).sum())
        result[f"{prefix}.instance_ap.{name}"] = Estimate(value, samples, n, {})
    if result:
        result[f"{prefix}.instance_ap.mean"] = average_estimates(list(result.values()), len(cohort))
    return result
