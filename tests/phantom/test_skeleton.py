"""Bone: walls and marrow by hand, sides and heights of the parts."""

from __future__ import annotations

import numpy as np
import pytest

from medprior.phantom.shapes import Capsule
from medprior.phantom.skeleton import (
    add_rib_pair,
    build_capsule_chain,
    cortical_bone_chord,
    render_clavicles,
    render_ribs,
    render_scapula,
    render_shoulders,
    render_spine,
)
from tests.phantom.thorax import straight_anatomy, straight_frame

ANATOMY = straight_anatomy()
FRAME = straight_frame(ANATOMY, 120)


def centre_of_height(bone):
    return float((bone * FRAME.v).sum() / bone.sum())


def test_a_tube_is_wall_plus_part_of_its_marrow():
    square = np.array([0.0, 16.0, 25.0, 36.0], np.float32)
    # 2 (5 - 0.45 * 3) in the middle, 2 * 3 through the wall alone, nothing outside.
    assert cortical_bone_chord(square, 5.0, 2.0, 1.0) == pytest.approx([7.3, 6.0, 0, 0])
    assert cortical_bone_chord(square, 5.0, 2.0, 0.5) == pytest.approx([3.65, 3.0, 0, 0])


def test_a_chain_has_one_capsule_between_two_points():
    chain = build_capsule_chain(np.array([0.0, 1, 3]), np.array([5.0, 6, 8]), np.array([2.0, 4, 6]))
    assert chain == [Capsule(0, 5, 1, 6, 2, 4), Capsule(1, 6, 3, 8, 4, 6)]


def test_a_rib_pair_is_a_ring_that_is_open_in_front():
    bone = np.zeros_like(FRAME.u)
    add_rib_pair(bone, FRAME, 80.0, 25.0, 100.0, 0.0, 6.0)
    np.testing.assert_allclose(bone, bone[:, ::-1], atol=0.05)
    level = np.hypot(FRAME.x_mm / 80, (FRAME.y_mm - 100) / 25)
    assert not bone[(level < 0.6) | (level > 1.4)].any()
    front = (FRAME.y_mm > 110) & (np.abs(FRAME.x_mm) < 0.3 * 80)
    back = (FRAME.y_mm < 90) & (np.abs(FRAME.x_mm) > 24) & (np.abs(FRAME.x_mm) < 40)
    assert not bone[front].any()
    assert bone[back].any()


def test_a_turned_patient_has_the_front_of_a_rib_on_one_side():
    straight, turned = np.zeros_like(FRAME.u), np.zeros_like(FRAME.u)
    add_rib_pair(straight, FRAME, 80.0, 25.0, 100.0, 0.0, 6.0)
    add_rib_pair(turned, FRAME, 80.0, 25.0, 100.0, 20.0, 6.0)
    for part, sign in ((FRAME.y_mm > 108, 1), (FRAME.y_mm < 92, -1)):
        shift = (FRAME.x_mm * turned)[part].sum() / turned[part].sum()
        assert sign * shift > 4


def test_a_rib_outside_the_image_changes_nothing():
    bone = np.zeros_like(FRAME.u)
    add_rib_pair(bone, FRAME, 80.0, 25.0, -300.0, 0.0, 6.0)
    assert not bone.any()


def test_ribs_of_men_are_thicker():
    bones = [render_ribs(straight_anatomy(male=male), FRAME, np.random.default_rng(0)) for male in (False, True)]
    assert bones[1].sum() > 1.03 * bones[0].sum()
    np.testing.assert_allclose(bones[0], bones[0][:, ::-1], atol=0.05)


def test_the_spine_stands_on_its_midline():
    for midline in (-0.1, 0.0, 0.1):
        bone = render_spine(ANATOMY, FRAME, midline, np.random.default_rng(0))
        assert (FRAME.x_mm * bone).sum() / bone.sum() == pytest.approx(200 * midline, abs=6)
        assert not (bone > 0.1)[np.abs(FRAME.x_mm - 200 * midline) > 45].any()


def test_portable_images_show_higher_clavicles_and_shoulder_blades_further_in():
    upright, portable = (straight_anatomy(portable=value) for value in (False, True))
    clavicles = [render_clavicles(anatomy, FRAME, np.random.default_rng(0)) for anatomy in (upright, portable)]
    assert centre_of_height(clavicles[1]) < centre_of_height(clavicles[0]) - 0.05
    shoulders = [render_shoulders(anatomy, FRAME, 0.5) for anatomy in (upright, portable)]
    field = np.abs(FRAME.x_mm) < 0.5 * 200
    assert shoulders[1][field].sum() > 1.2 * shoulders[0][field].sum()
    for bone in (*clavicles, *shoulders):
        np.testing.assert_allclose(bone, bone[:, ::-1], atol=0.05)


def test_shoulder_blades_are_mirror_images_beside_the_chest():
    right, left = (render_scapula(FRAME, side, 80.0, FRAME.height_mm) for side in (-1.0, 1.0))
    np.testing.assert_allclose(left, right[:, ::-1], atol=1e-4)
    x = FRAME.x_mm[left > 0.5]
    assert x.min() >= 80 - 20
    assert x.max() <= 80 + 36
    assert not left[(FRAME.v < 0.02) | (FRAME.v > 0.45)].any()
