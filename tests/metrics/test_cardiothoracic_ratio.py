import numpy as np
import pytest

from medprior.metrics.cardiothoracic_ratio import (
    CardiothoracicRatio,
    find_middle_argmax,
    find_row_borders,
    keep_largest_component,
    measure_cardiothoracic_ratio,
    stretch_to_square_pixels,
)
from tests.ellipses import fill_ellipse


def chest(shape=(300, 400)):
    return {
        "right_lung": fill_ellipse(shape, (150, 110), (110, 60)),
        "left_lung": fill_ellipse(shape, (150, 290), (110, 60)),
        "heart": fill_ellipse(shape, (190, 215), (50, 70)),
    }


def test_ratio_of_drawn_ellipses():
    measured = measure_cardiothoracic_ratio(chest())
    assert measured is not None
    assert measured.ratio == pytest.approx(140 / 300, abs=0.01)
    x0, x1, y = measured.thorax
    assert (x0, x1, y) == pytest.approx((50, 350, 150), abs=2)
    (left, upper), (right, lower) = measured.heart
    assert (left, right) == pytest.approx((145, 285), abs=2)
    assert (upper, lower) == pytest.approx((190, 190), abs=10)
    assert measured.plausible


def test_ends_are_at_the_rows_where_the_heart_is_widest():
    masks = chest()
    heart = np.zeros_like(masks["heart"])
    heart[200:205, 150:220] = True
    heart[205:240, 170:220] = True
    heart[240:245, 170:280] = True
    measured = measure_cardiothoracic_ratio({**masks, "heart": heart})
    assert measured is not None
    assert measured.heart == ((150.0, 202.5), (280.0, 242.5))


def test_specks_move_no_border():
    masks = chest()
    clean = measure_cardiothoracic_ratio(masks)
    masks["heart"][5:8, 5:8] = True
    masks["left_lung"][290:295, 395:399] = True
    assert measure_cardiothoracic_ratio(masks) == clean
    assert measure_cardiothoracic_ratio(masks, with_isolated_pixels=False).heart[0][0] == 5


def test_one_label_for_both_lungs():
    masks = chest()
    both = {"lungs": masks["left_lung"] | masks["right_lung"], "heart": masks["heart"]}
    assert measure_cardiothoracic_ratio(both) == measure_cardiothoracic_ratio(masks)


def test_mirror_and_scale_keep_the_ratio():
    masks = chest()
    mirrored = {name: mask[:, ::-1] for name, mask in masks.items()}
    larger = {name: mask.repeat(2, 0).repeat(2, 1) for name, mask in masks.items()}
    ratios = [measure_cardiothoracic_ratio(item).ratio for item in (masks, mirrored, larger)]
    assert ratios == pytest.approx([ratios[0]] * 3)


def test_nothing_to_measure():
    masks = chest()
    assert measure_cardiothoracic_ratio({"heart": masks["heart"]}) is None
    assert measure_cardiothoracic_ratio({**masks, "heart": np.zeros_like(masks["heart"])}) is None
    assert measure_cardiothoracic_ratio({name: masks[name] for name in ("left_lung", "right_lung")}) is None


def test_an_impossible_ratio_is_marked():
    masks = chest()
    measured = measure_cardiothoracic_ratio({**masks, "heart": fill_ellipse((300, 400), (150, 200), (20, 20))})
    assert measured is not None
    assert not measured.plausible


@pytest.mark.parametrize(("ratio", "plausible"), [(0.25, True), (0.249, False), (0.9, True), (0.901, False)])
def test_limits_of_a_plausible_ratio(ratio, plausible):
    assert CardiothoracicRatio(ratio, ((0, 0), (1, 0)), (0, 1, 0)).plausible is plausible


def test_the_middle_one_of_equal_rows():
    assert find_middle_argmax(np.array([1.0, 3, 3, 3, 0])) == 2
    assert find_middle_argmax(np.array([3.0, 0, 0, 3])) == 3


def test_borders_are_edges_of_pixels():
    mask = np.array([[0, 0, 0, 0], [0, 1, 0, 1]], bool)
    first, last = find_row_borders(mask)
    assert first.tolist() == [np.inf, 1]
    assert last.tolist() == [-np.inf, 4]


def test_the_smallest_measured_heart():
    masks = {"lungs": np.zeros((100, 100), bool), "heart": np.zeros((100, 100), bool)}
    masks["lungs"][:, 20:80] = True
    masks["heart"][50, 40:60] = True  # 20 of 10,000 pixels
    assert measure_cardiothoracic_ratio(masks).ratio == pytest.approx(20 / 60)
    masks["heart"][50, 40] = False
    assert measure_cardiothoracic_ratio(masks) is None


def test_the_largest_component_alone_is_kept():
    mask = np.array([[1, 0, 1, 1], [0, 0, 0, 1]], bool)
    assert keep_largest_component(mask).tolist() == [[False, False, True, True], [False, False, False, True]]
    assert not keep_largest_component(np.zeros((2, 2), bool)).any()


def test_columns_are_stretched_to_the_aspect():
    mask = np.array([[1, 0, 0, 0], [0, 1, 0, 1]] * 2, bool)
    assert stretch_to_square_pixels(mask, 2.0)[1].tolist() == [False, False, True, True, False, False, True, True]
    assert stretch_to_square_pixels(mask, 0.5)[1].tolist() == [True, True]
    assert stretch_to_square_pixels(mask, 0.01).shape == (4, 1)
