"""Borders of lungs and heart in parts of the lungs' box."""

from __future__ import annotations

import numpy as np
import pytest

from medprior.phantom.outline import (
    DIAPHRAGM_KNOTS,
    HEART_KNOTS,
    LEFT_INNER_KNOTS,
    OUTER_BORDER_KNOTS,
    RIGHT_INNER_KNOTS,
    ShapeBorders,
    compute_structure_masks,
    diaphragm_height,
    get_lung_vertical_extent,
    heart_borders,
    lung_borders,
    sort_arc_by_height,
)
from tests.phantom.thorax import straight_anatomy, straight_frame


def test_borders_are_interpolated_and_belong_to_the_shape():
    borders = ShapeBorders(*(np.array(pair, np.float32) for pair in ((0, 1), (0.25, 0.5), (0.625, 0.75))))
    left, right = borders.at(np.array([-1, 0.5, 2], np.float32))
    assert left.tolist() == [0.25, 0.375, 0.5]
    assert right.tolist() == [0.625, 0.6875, 0.75]
    u = np.array([0.25, 0.625, 0.24, 0.63, 0.5, 0.75, 0.6, 0.6], np.float32)
    v = np.array([0, 0, 0, 0, 1, 1, -0.01, 1.01], np.float32)
    assert borders.contains(u, v).tolist() == [True, True, False, False, True, True, False, False]


def test_an_arc_wraps_around_the_curve_and_rises():
    x, y = np.array([0.0, 1, 2, 3]), np.array([0.0, 1, 2, 1])
    heights, places = sort_arc_by_height(x, y, 2, 0)
    assert (heights.tolist(), places.tolist()) == ([0, 1, 2], [0, 3, 2])
    heights, places = sort_arc_by_height(x, y, 0, 2)
    assert (heights.tolist(), places.tolist()) == ([0, 1, 2], [0, 1, 2])


@pytest.mark.parametrize("left", [True, False])
def test_a_lung_fills_its_side_of_the_box(left):
    anatomy = straight_anatomy(left_top=0.02, left_bottom=0.9, right_top=0.04, right_bottom=0.95)
    top, bottom = (0.02, 0.9) if left else (0.04, 0.95)
    assert get_lung_vertical_extent(anatomy, left) == (top, bottom)
    borders = lung_borders(anatomy, left)
    assert borders.height[[0, -1]] == pytest.approx([top, bottom], abs=1e-6)
    outer, inner = (borders.right.max(), borders.left.min()) if left else (borders.left.min(), borders.right.max())
    assert outer == pytest.approx(1 if left else 0, abs=0.005)
    assert inner == pytest.approx(0.56 if left else 0.44, abs=0.005)
    assert (borders.left <= borders.right + 1e-6).all()


def test_a_bulge_pulls_the_outer_border_in():
    plain, bulged = (lung_borders(straight_anatomy(bulge=(value, 0, 0, 0)), False) for value in (0.0, 1.0))
    middle = len(plain.height) * 35 // 100
    assert bulged.left[middle] - plain.left[middle] == pytest.approx(0.44 * 0.03, abs=2e-4)
    np.testing.assert_array_equal(bulged.right, plain.right)
    np.testing.assert_array_equal(lung_borders(straight_anatomy(bulge=(1, 0, 0, 0)), True).right,
                                  lung_borders(straight_anatomy(), True).right)  # fmt: skip


@pytest.mark.parametrize("left", [True, False])
def test_the_dome_is_highest_inside_and_lowest_at_the_chest_wall(left):
    anatomy = straight_anatomy()
    u = np.array([1.0, 0.934, 0.736, 0.56] if left else [0.0, 0.066, 0.264, 0.44], np.float32)
    wall, slope, dome, inner = diaphragm_height(anatomy, u, left)
    assert wall == pytest.approx(1, abs=1e-6)
    assert dome < inner < slope < wall


def test_a_low_heart_flattens_the_dome_and_a_bulge_raises_it():
    u = np.array([0.264], np.float32)
    heights = {
        name: float(diaphragm_height(straight_anatomy(**changes), u, False)[0])
        for name, changes in {
            "middle": {"heart_y": 0.697},
            "low": {"heart_y": 0.797},
            "bulge": {"heart_y": 0.697, "bulge": (0, 1, 0, 0)},
        }.items()
    }
    # The dome's depth there is 0.197 of the lung, times 1.12 on the right.
    assert 1 - heights["middle"] == pytest.approx(0.197 * 1.12, abs=1e-3)
    assert 1 - heights["low"] == pytest.approx(0.197 * 1.12 * 0.78, abs=1e-3)
    assert 1 - heights["bulge"] == pytest.approx(0.197 * 1.12 * 1.25, abs=1e-3)


def test_the_hearts_box_is_the_drawn_one():
    borders = heart_borders(straight_anatomy())
    assert borders.height[[0, -1]] == pytest.approx([0.5, 0.9], abs=1e-6)
    assert [borders.left.min(), borders.right.max()] == pytest.approx([0.35, 0.85], abs=2e-3)
    assert borders.left[[0, -1]] == pytest.approx(borders.right[[0, -1]], abs=1e-6)


def test_lungs_end_at_the_heart_and_the_diaphragm():
    anatomy = straight_anatomy()
    frame = straight_frame(anatomy, 200)
    masks = compute_structure_masks(anatomy, frame.u, frame.v)
    assert set(masks) == {"heart", "left_lung", "right_lung"}
    for name, left in (("left_lung", True), ("right_lung", False)):
        assert not (masks[name] & masks["heart"]).any()
        assert (frame.v[masks[name]] < diaphragm_height(anatomy, frame.u[masks[name]], left)).all()
        assert ((frame.u[masks[name]] > 0.5) == left).all()
    whole = lung_borders(anatomy, True).contains(frame.u, frame.v)
    above = whole & (frame.v < diaphragm_height(anatomy, frame.u, True)) & ~masks["heart"]
    np.testing.assert_array_equal(masks["left_lung"], above)


@pytest.mark.parametrize("knots", [OUTER_BORDER_KNOTS, LEFT_INNER_KNOTS, RIGHT_INNER_KNOTS, DIAPHRAGM_KNOTS])
def test_borders_are_drawn_from_one_end_to_the_other_in_parts_of_the_lung(knots):
    """No border bends sharply: neighbouring knots differ by less than a quarter, beside the apex."""
    along, across = np.transpose(knots)
    assert (along[0], along[-1]) == (0, 1)
    assert (np.diff(along) > 0).all()
    assert across.min() >= 0
    assert across.max() <= 1
    assert np.abs(np.diff(across)).max() < 0.25


def test_the_heart_touches_its_box_on_all_sides_without_a_corner():
    points = np.array(HEART_KNOTS)
    assert points.min(axis=0).tolist() == [0, 0]
    assert points.max(axis=0).tolist() == [1, 1]
    steps = np.diff(points, axis=0, append=points[:1])
    turns = np.diff(np.unwrap(np.arctan2(steps[:, 1], steps[:, 0])))
    assert (turns > -0.2).all()  # clockwise with rows downwards
    assert np.abs(turns).max() < 0.9
    assert np.hypot(*steps.T).max() < 0.35
