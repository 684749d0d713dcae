"""AP of instances, against COCO's own code."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from medprior.evaluate.localisation.instance_ap import (
    compute_instance_ap,
    concatenate_detections,
    detect_map_instances,
    estimate_instance_ap,
    extract_map_instances,
    extract_mask_instances,
    match_instances,
)
from medprior.evaluate.localisation.scoring import localise_structures
from medprior.evaluate.localisation.targets import load_true_masks
from medprior.metrics.bootstrap import Resamples
from tests.evaluate.localisation.drawn_maps import SIZE, NoisyMasks


def blob(rng, size=48):
    y, x = np.mgrid[:size, :size] / size
    cy, cx = rng.uniform(0.25, 0.75, 2)
    ry, rx = rng.uniform(0.1, 0.25, 2)
    return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1


def encoded(mask):
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


def by_pycocotools(cases):
    """AP@[.5:.95] of [(truths, detections, scores)] by COCO's own code."""
    images = [{"id": i, "height": 48, "width": 48} for i in range(len(cases))]
    truth, detected = [], []
    for image, (truths, detections, scores) in enumerate(cases):
        for mask in truths:
            area = float(mask.sum())
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "iscrowd": 0,
                    "segmentation": encoded(mask),
                    "area": area,
                    "bbox": [0, 0, 1, 1],
                }
            )
        for mask, score in zip(detections, scores, strict=True):
            detected.append(
                {
                    "image_id": image,
                    "category_id": 1,
                    "segmentation": encoded(mask),
                    "score": float(score),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": truth, "categories": [{"id": 1}]}
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(detected), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats[0]


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_pycocotools(seed):
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(12):
        truths = extract_mask_instances(blob(rng) | np.roll(blob(rng), 20, 1), 2)
        shifts = rng.integers(-4, 5, (len(truths) + 1, 2))
        detections = [np.roll(t, s, (0, 1)) for t, s in zip(truths, shifts, strict=False)]
        detections.append(blob(rng))
        scores = rng.random(len(detections))
        order = np.argsort(-scores)
        cases.append((truths, np.stack(detections)[order], scores[order]))
    rows = [(i, scores, match_instances(found, truths)) for i, (truths, found, scores) in enumerate(cases)]
    ours = concatenate_detections(rows, np.array([len(truths) for truths, _, _ in cases]))
    assert compute_instance_ap(ours, np.ones(12)) == pytest.approx(by_pycocotools(cases), abs=1e-6)
    # an image counted twice is the same as the image there twice
    weight = np.array([2.0, 0.0, *np.ones(10)])
    twice = [(12 if i == 0 else i, s, h) for i, s, h in rows[:1] + rows[2:]]
    again = concatenate_detections(
        [*rows[:1], *twice], np.array([*ours.objects * (np.arange(12) != 1), ours.objects[0]])
    )
    assert compute_instance_ap(ours, weight) == pytest.approx(compute_instance_ap(again, np.ones(13)))


def test_pieces_are_the_mass_and_nothing_small():
    values = np.zeros((40, 40), np.float32)
    values[5:15, 5:15], values[25:35, 25:31], values[0, 39] = 1.0, 1.0, 1.0
    masks, score = extract_map_instances(values)
    assert len(masks) <= 2
    assert 0.5 < score.sum() <= 0.61
    assert (np.diff(score) <= 0).all()
    assert not extract_map_instances(np.zeros((40, 40), np.float32))[0].any()


def test_no_instance_is_nan_and_no_piece_is_zero():
    none = concatenate_detections([], np.zeros(3, dtype=np.intp))
    assert np.isnan(compute_instance_ap(none, np.ones(3)))
    missed = concatenate_detections([(0, np.zeros(0), np.zeros((10, 0), bool))], np.array([1]))
    assert compute_instance_ap(missed, np.ones(1)) == 0


def test_a_source_is_scored_with_intervals(cohort):
    test = cohort.split("test")
    source = NoisyMasks(["left_lung", "heart"], assigned=("left_lung", "heart"), noise=0.01)
    targets = {"left_lung": ("left_lung",), "heart": ("heart",)}
    localisation = localise_structures(source, test, None, targets, SIZE)
    draws = Resamples.draw(test.patient_ids, 50, 0)
    estimates = estimate_instance_ap(source, test, targets, localisation, draws, SIZE, "attention")
    heart = estimates["attention.instance_ap.heart"]
    low, high = heart.interval()
    assert 0 <= low <= heart.value <= high <= 1
    assert set(estimates) == {f"attention.instance_ap.{n}" for n in ("left_lung", "heart", "mean")}


def test_each_map_is_matched_with_the_masks_of_its_own_image(cohort):
    """Lungs are two instances and a heart is one; an image without the mask has none and no piece."""
    test = cohort.split("test")
    source = NoisyMasks(["left_lung", "heart"], assigned=("left_lung", "heart"), noise=0.01)
    targets = {"left_lung": ("left_lung",), "heart": ("heart",)}
    localisation = localise_structures(source, test, None, targets, SIZE)
    found = detect_map_instances(source, test, targets, localisation, SIZE)["heart"]
    masks = load_true_masks(test, targets, SIZE)[:, list(targets).index("heart")]
    maps = np.concatenate(list(source.batches(test, SIZE)))[:, 1]
    rows = np.flatnonzero(masks.any(axis=(1, 2)))
    assert 0 < len(rows) < len(test)
    assert found.objects.tolist() == [int(mask.any()) for mask in masks]
    pieces = [extract_map_instances(maps[row]) for row in rows]
    assert found.image.tolist() == [row for row, (_, score) in zip(rows, pieces, strict=True) for _ in score]
    np.testing.assert_allclose(found.score, np.concatenate([score for _, score in pieces]))
    hits = [match_instances(some, masks[row][None]) for row, (some, _) in zip(rows, pieces, strict=True)]
    np.testing.assert_array_equal(found.hit, np.concatenate(hits, axis=1))
    assert found.hit[0].any()


def test_a_piece_matches_the_best_instance_that_is_left():
    """One row of ten pixels: two instances of four, pieces of the first, of most of it, and of nothing."""
    instances, pieces = np.zeros((2, 1, 10), bool), np.zeros((3, 1, 10), bool)
    instances[0, 0, :4], instances[1, 0, 5:9] = True, True
    pieces[0, 0, :4], pieces[1, 0, :3], pieces[2, 0, 5:8] = True, True, True
    hit = match_instances(pieces, instances)
    assert hit.shape == (10, 3)
    # The second piece finds its instance taken; the third covers three quarters: IoU 0.5 to 0.75 and no more.
    assert hit[:, 0].all()
    assert not hit[:, 1].any()
    assert hit[:, 2].tolist() == [True] * 6 + [False] * 4
    assert not match_instances(pieces, instances[:0]).any()
    assert match_instances(pieces[:0], instances).shape == (10, 0)
