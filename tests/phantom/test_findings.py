"""Each finding changes the picture where its mask is, and nowhere far from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from medprior.phantom import FINDINGS, PhantomSettings, render_phantom
from medprior.phantom.findings import (
    Lesion,
    compute_hemithorax_mask,
    locate_lesion,
    outer_border_distance,
    sample_findings,
    sample_follow_up,
)
from medprior.phantom.render import render_sampled_image, sample_image_parameters
from medprior.phantom.settings import Prevalence
from tests.phantom.thorax import straight_anatomy, straight_frame

SIZE = 192
SETTINGS = PhantomSettings(size=SIZE)
BRIGHTER = {"pleural_effusion": 1, "consolidation": 1, "nodule": 1, "pneumothorax": -1}


def pair(lesion, seed=2):
    """The same thorax, noise and exposure without and with one lesion."""
    study = replace(sample_image_parameters((seed,), 0, SETTINGS), findings=[])
    healthy = render_sampled_image(study, SIZE, SIZE, SETTINGS)
    ill = render_sampled_image(replace(study, findings=[lesion]), SIZE, SIZE, SETTINGS)
    return healthy, ill


@pytest.mark.parametrize("name", BRIGHTER)
@pytest.mark.parametrize("left", [True, False])
def test_finding_changes_the_picture_where_it_sits(name, left):
    lesion = Lesion(name, left, 0.8, 0.9, (0.5, 0.4), 5)
    healthy, ill = pair(lesion)
    mask = ill.masks[name]
    lung = ill.masks["left_lung" if left else "right_lung"]
    assert mask.any()
    assert not (mask & ~lung).any()
    change = BRIGHTER[name] * (ill.signal - healthy.signal)
    far = ~binary_dilation(mask, iterations=SIZE // 12) & ill.masks["left_lung" if not left else
                                                                   "right_lung"]  # fmt: skip
    assert change[mask].mean() > 0.015
    assert change[mask].mean() > 4 * np.abs(change[far]).mean()


@pytest.mark.parametrize("name", BRIGHTER)
def test_size_grows_the_mask(name):
    areas = []
    for size in (0.1, 0.5, 1.0):
        _, ill = pair(Lesion(name, True, size, 0.5, (0.5, 0.45), 9))
        areas.append(ill.masks[name].sum())
    assert areas[0] < areas[1] < areas[2]


def test_lungs_and_heart_do_not_depend_on_findings():
    healthy, ill = pair(Lesion("pleural_effusion", True, 1.0, 1.0, (0.5, 0.5), 1))
    for name in ("left_lung", "right_lung", "heart"):
        assert np.array_equal(healthy.masks[name], ill.masks[name])


def test_prevalence_is_as_set():
    prevalence = Prevalence(pleural_effusion=0.3, consolidation=0.2, nodule=0.1, pneumothorax=0.4)
    count = dict.fromkeys(BRIGHTER, 0)
    for seed in range(1500):
        found = sample_findings(prevalence, seed % 4 == 0, 1.0, np.random.default_rng(seed))
        for name in {lesion.name for lesion in found}:
            count[name] += 1
    for name, seen in count.items():
        assert abs(seen / 1500 - getattr(prevalence, name)) < 0.04, name


def test_subtlety_zero_makes_every_lesion_large():
    sure = Prevalence(pleural_effusion=1, consolidation=1, nodule=1, pneumothorax=1)
    found = sample_findings(sure, False, 0.0, np.random.default_rng(1))
    assert {lesion.name for lesion in found} == set(BRIGHTER)
    assert all(lesion.size == lesion.density == 1.0 for lesion in found)


def test_follow_up_keeps_most_lesions_in_place():
    lesions = [Lesion("nodule", True, 0.5, 0.5, (0.3, 0.3), n) for n in range(400)]
    kept = sample_follow_up(lesions, np.random.default_rng(0))
    assert 0.78 < len(kept) / 400 < 0.92
    assert all(lesion.position == (0.3, 0.3) and lesion.left for lesion in kept)


def test_label_truth_and_masks_agree():
    seen = set()
    for seed in range(25):
        image = render_phantom(seed, 96)
        for name in FINDINGS:
            assert (image.truth[name] == 1.0) == (name in image.masks)
            assert np.isnan(image.labels[name]) or image.labels[name] == image.truth[name]
            seen.add((name, image.truth[name]))
    assert len(seen) == 2 * len(FINDINGS)


def test_sides_are_halves_of_the_picture():
    anatomy = straight_anatomy()
    frame = straight_frame(anatomy, 10)
    for left, columns in ((True, [5, 6, 7, 8, 9]), (False, [0, 1, 2, 3, 4])):
        assert np.flatnonzero(compute_hemithorax_mask(frame, left)[0]).tolist() == columns
        distance = outer_border_distance(anatomy, frame, left)[5]
        # The outer border is near the edge of the box, whose middle is half a box away.
        assert distance[5 if left else 4] == pytest.approx(0.41, abs=0.02)
        assert distance[0 if left else 9] > distance[9 if left else 0] == 0


@pytest.mark.parametrize(("place", "pixel"), [((0, 0), (22, 32)), ((0, 1), (37, 32)), ((1, 0.5), (30, 47))])
def test_a_place_is_between_an_eighth_and_seven_of_the_lung(place, pixel):
    frame = straight_frame(straight_anatomy(), 100)
    lung = np.zeros((100, 100), bool)
    lung[20:41, 30:51] = True
    x, y = locate_lesion(Lesion("nodule", True, 0.5, 0.5, place, 0), lung, frame)
    assert (x, y) == (frame.x_mm[pixel], frame.y_mm[pixel])


def test_subtlety_above_one_makes_lesions_smaller_and_fainter():
    sure = Prevalence(pleural_effusion=1, consolidation=1, nodule=1, pneumothorax=1)
    usual, hard, easy = (sample_findings(sure, True, value, np.random.default_rng(1)) for value in (1.0, 2.0, 0.5))
    assert len(usual) == len(hard) == len(easy) >= 4
    for first, second, third in zip(usual, hard, easy, strict=True):
        assert second.size == pytest.approx(first.size**2)
        assert second.density == pytest.approx(first.density**2)
        assert third.size == pytest.approx(0.5 + 0.5 * first.size)
        assert (second.position, second.left) == (first.position, first.left)


def test_a_large_heart_makes_effusions_likelier():
    prevalence = Prevalence(pleural_effusion=0.5, consolidation=0, nodule=0, pneumothorax=0)
    counts = [
        sum(bool(sample_findings(prevalence, large, 1.0, np.random.default_rng(seed))) for seed in range(400))
        for large in (False, True)
    ]
    assert counts == pytest.approx([0.415 * 400, 0.75 * 400], abs=35)


def test_a_second_image_changes_sizes_within_their_range():
    lesions = [Lesion("nodule", True, size, 0.5, (0.3, 0.3), 1) for size in (0.02, 0.5, 1.0) * 60]
    sizes = [lesion.size for lesion in sample_follow_up(lesions, np.random.default_rng(0))]
    assert (min(sizes), max(sizes)) == (0.02, 1.0)
    assert np.std([size for size in sizes if 0.2 < size < 0.8]) == pytest.approx(0.1, abs=0.03)
