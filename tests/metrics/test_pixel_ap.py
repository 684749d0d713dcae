import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score

from medprior.metrics.pixel_ap import (
    DICE_THRESHOLDS,
    compute_dice_curve,
    compute_pixel_ap,
    find_best_threshold,
    threshold_by_mass,
)
from tests.ellipses import fill_ellipse
from tests.evaluate.slow_twins import slow_dice

EDGE_VALUES = st.sampled_from([0.0, 2.0**-149, 0.5, 1 - 2.0**-24, 1.0]) | st.floats(0, 1, width=32)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, (3, 5, 6), elements=EDGE_VALUES), hnp.arrays(bool, (2, 5, 6)))
def test_equals_sklearn_for_all_maps_and_masks(maps, masks):
    precision = compute_pixel_ap(maps, masks)
    for m in range(3):
        for k in range(2):
            if masks[k].any():
                expected = average_precision_score(masks[k].ravel(), maps[m].ravel())
                assert precision[m, k] == pytest.approx(expected, abs=1e-9)
            else:
                assert np.isnan(precision[m, k])


def test_chance_is_prevalence_and_a_perfect_map_is_one():
    mask = fill_ellipse((96, 96), (48, 38.4), (28.8, 14.4))
    flat = np.full((1, 96, 96), 0.3, np.float32)
    noise = np.random.default_rng(0).random((1, 96, 96)).astype(np.float32)
    assert compute_pixel_ap(flat, mask[None])[0, 0] == pytest.approx(mask.mean())
    assert compute_pixel_ap(noise, mask[None])[0, 0] == pytest.approx(mask.mean(), abs=0.02)
    assert compute_pixel_ap(mask[None].astype(np.float32), mask[None])[0, 0] == 1


def test_mass_mask_is_the_smallest_set_that_holds_the_share():
    rng = np.random.default_rng(3)
    maps = rng.random((4, 8, 8)).astype(np.float32) ** 3
    maps[3] = 0
    chosen = threshold_by_mass(maps, 0.6)
    for values, inside in zip(maps[:3], chosen[:3], strict=True):
        assert values[inside].sum() >= 0.6 * values.sum()
        assert values[inside].sum() - values[inside].min() < 0.6 * values.sum()
        assert values[inside].min() >= values[~inside].max()
    assert not chosen[3].any()


def test_dice_curve_equals_one_dice_per_threshold():
    rng = np.random.default_rng(4)
    maps = rng.random((2, 10, 10)).astype(np.float32)
    masks = np.stack([fill_ellipse((10, 10), (5, 5), (3, 3)), np.zeros((10, 10), bool)])
    curve = compute_dice_curve(maps, masks)
    assert np.isnan(curve[:, 1]).all()
    for m in range(2):
        scaled = maps[m].astype(np.float64) / maps[m].max()
        for t in (0, 30, 98):
            assert curve[m, 0, t] == pytest.approx(slow_dice(scaled >= DICE_THRESHOLDS[t], masks[0]))


def test_best_threshold_ignores_images_without_the_organ():
    curves = np.tile(1 - np.abs(DICE_THRESHOLDS - 0.37), (5, 1))
    curves[2] = np.nan
    assert find_best_threshold(curves) == (36, pytest.approx(0.37))


def test_equals_sklearn_closely_on_larger_maps_with_ties():
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 12, (6, 30, 25)).astype(np.float32)
    masks = rng.random((3, 30, 25)) < 0.2
    precision = compute_pixel_ap(maps, masks)
    for m, k in np.ndindex(6, 3):
        expected = average_precision_score(masks[k].ravel(), maps[m].ravel())
        assert precision[m, k] == pytest.approx(expected, abs=1e-12)


def test_a_random_a_constant_a_perfect_map_and_an_empty_mask():
    rng = np.random.default_rng(1)
    mask = np.zeros((1, 200, 200), dtype=bool)
    mask[0, 40:110, 30:100] = True
    prevalence = mask.mean()
    random = rng.random((1, 200, 200)).astype(np.float32)
    assert compute_pixel_ap(random, mask)[0, 0] == pytest.approx(prevalence, abs=0.01)
    flat = np.full((1, 200, 200), 0.3, np.float32)
    assert compute_pixel_ap(flat, mask)[0, 0] == pytest.approx(prevalence, abs=1e-12)
    assert compute_pixel_ap(mask.astype(np.float32), mask)[0, 0] == 1
    assert np.isnan(compute_pixel_ap(flat, np.zeros_like(mask))[0, 0])


def test_equal_values_form_one_step():
    """Of values 2, 1, 1, 0 one 1 and the 0 lie inside: precisions 1/3 and 2/4."""
    values = np.array([[[2.0, 1.0], [1.0, 0.0]]], np.float32)
    mask = np.array([[[False, True], [False, True]]])
    assert compute_pixel_ap(values, mask)[0, 0] == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_of_equal_pixels_the_first_hold_the_mass():
    flat = np.ones((1, 2, 2), np.float32)
    assert threshold_by_mass(flat, 0.5).tolist() == [[[True, True], [False, False]]]
    peak = np.array([[[1.0, 1.0], [3.0, 1.0]]], np.float32)
    assert threshold_by_mass(peak, 0.5).tolist() == [[[False, False], [True, False]]]
    assert threshold_by_mass(peak, 0.6).tolist() == [[[True, False], [True, False]]]
    assert threshold_by_mass(peak, 1.0).all()


def test_a_pixel_at_the_threshold_is_inside():
    curve = compute_dice_curve(np.array([[[4.0, 2.0]]], np.float32), np.array([[[True, False]]]))[0, 0]
    assert curve[49] == pytest.approx(2 / 3)  # 0.50 of the greatest value
    assert curve[50] == 1


def test_the_first_of_equal_thresholds_is_the_best_and_one_half_without_data():
    curves = np.zeros((2, 99))
    curves[:, [30, 60]] = 1
    assert find_best_threshold(curves) == (30, pytest.approx(0.31))
    assert find_best_threshold(np.full((2, 99), np.nan)) == (49, 0.5)
