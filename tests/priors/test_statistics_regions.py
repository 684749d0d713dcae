"""Parts of the segmentation of a cohort's mean picture, on pictures drawn by hand."""

import numpy as np
import pytest

from medprior.errors import MedpriorError
from medprior.priors.moments import Moments, accumulate_moments
from medprior.priors.settings import StatisticsSettings
from medprior.priors.statistics import (
    compute_cohort_moments,
    find_lungs_and_heart,
    find_midline,
    is_plausible_lung_pair,
    segment_heart,
    segment_lung,
    segment_with_split_half_iou,
    trace_lung_axis,
    weight_by_stability,
)

from .conftest import thorax, write_cohort

SETTINGS = StatisticsSettings()


def fill(shape, rows, columns):
    """Mask of `shape`, true in a rectangle of (first, after the last) rows and columns."""
    mask = np.zeros(shape, dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def symmetric_about(column, size=100):
    return np.tile(np.abs(np.arange(size) - column).astype(float), (size, 1))


@pytest.mark.parametrize(("symmetry", "found"), [(47, 47), (40, 40), (60, 60), (37, 40), (63, 60)])
def test_the_midline_is_the_axis_of_symmetry_in_the_middle_fifth(symmetry, found):
    assert find_midline(symmetric_about(symmetry)) == found


def test_the_midline_is_that_of_the_middle_half_of_the_rows():
    mean = 100 * symmetric_about(55)
    mean[25:50], mean[50:75] = symmetric_about(46)[:25], 3 * symmetric_about(49)[:25]
    assert find_midline(mean) == 49
    mean[50:75] /= 9
    assert find_midline(mean) == 46


def test_the_axis_of_a_lung_follows_its_ridge_and_jumps_to_nothing_deeper():
    """Two columns a row at most of 100 rows; beside the body, far from the ridge, the air is deeper."""
    rows = np.arange(100)
    ridge = np.clip(30 + 2 * (rows - 50), 12, 46)
    depth = np.zeros((100, 80))
    depth[rows, ridge] = 5
    depth[:, 75] = 9
    depth[50, 30] = 10
    depth[[5, 19, 80, 90], 78] = 50  # the deepest of all, outside of the middle three fifths
    np.testing.assert_array_equal(trace_lung_axis(depth), ridge)


@pytest.mark.parametrize("row", [20, 79])
def test_the_axis_starts_in_the_middle_three_fifths_of_the_rows(row):
    depth = np.zeros((100, 40))
    depth[:, 10], depth[row, 30] = 1, 2
    path = trace_lung_axis(depth)
    assert path[row] == 30
    assert abs(int(path[50]) - 10) <= 20


def test_a_step_along_the_axis_is_a_column_at_least():
    depth = np.zeros((20, 20))
    depth[np.arange(20), np.arange(20)] = 5
    depth[10, 10] = 6
    np.testing.assert_array_equal(trace_lung_axis(depth), np.arange(20))


def draw_valley():
    """A half of 60 x 70: ridges of 1 beside a lung of 0 in rows 12 to 47 and columns 20 to 49."""
    half = np.ones((60, 70))
    half[12:48, 20:50] = 0
    return half


def without_corners(mask):
    """The rectangle less the three rows of pixels at each corner that opening by a diamond takes."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y, x = np.indices(mask.shape)
    down = np.minimum(y - rows[0], rows[-1] - y)
    across = np.minimum(x - columns[0], columns[-1] - x)
    return mask & (down + across >= 3)


def test_a_lung_is_the_valley_between_two_ridges():
    expected = without_corners(fill((60, 70), (12, 48), (20, 50)))
    np.testing.assert_array_equal(segment_lung(draw_valley()), expected)


def test_a_lung_ends_where_six_tenths_of_the_ridge_are_reached():
    half = draw_valley()
    half[12:48, 50:60] = np.linspace(0.1, 1.0, 10)
    assert segment_lung(half)[30].nonzero()[0].tolist() == list(range(20, 56))
    half[12:48, 50:60], half[12:48, 10:20] = 1, np.linspace(1.0, 0.1, 10)
    assert segment_lung(half)[30].nonzero()[0].tolist() == list(range(14, 50))
    assert segment_lung(half, share=0.3)[30].nonzero()[0].tolist() == list(range(17, 50))


def test_a_lung_ends_where_the_valley_is_shallower_than_seven_hundredths():
    half = draw_valley()
    half[4:12, 20:50], half[48:56, 20:50] = 0.94, 0.92
    rows = segment_lung(half)[:, 35].nonzero()[0]
    assert (rows[0], rows[-1]) == (12, 55)
    rows = segment_lung(half, least=0.05)[:, 35].nonzero()[0]
    assert (rows[0], rows[-1]) == (4, 55)


def test_a_gap_of_four_rows_is_closed_and_one_of_six_is_not():
    for gap, closed in ((4, True), (6, False)):
        half = draw_valley()
        half[28 : 28 + gap, 24:50] = 1
        assert segment_lung(half)[28 + gap // 2, 36] == closed


def test_what_sticks_out_of_a_lung_is_cut_off_below_seven_rows():
    for height, left in ((6, False), (8, True)):
        half = draw_valley()
        half[24 : 24 + height, 50:60] = 0
        assert segment_lung(half)[24 + height // 2, 57] == left


@pytest.mark.parametrize(
    ("left", "right", "plausible"),
    [
        ((10, 30), (10, 30), True), ((13, 23), (10, 30), False), ((70, 50), (70, 50), True),
        ((39, 90), (70, 50), False), ((10, 75), (10, 30), True), ((10, 76), (10, 30), False),
    ],
)  # fmt: skip
def test_lungs_have_a_thirtieth_to_a_third_of_the_picture_and_similar_sizes(left, right, plausible):
    masks = [fill((100, 100), (0, rows), (0, columns)) for rows, columns in (left, right)]
    assert is_plausible_lung_pair(*masks) == is_plausible_lung_pair(*masks[::-1]) == plausible


def test_lungs_lie_side_by_side_in_more_than_six_tenths_of_the_shorter():
    shorter = fill((100, 100), (0, 10), (0, 40))
    for first, plausible in ((3, True), (4, False)):
        assert is_plausible_lung_pair(shorter, fill((100, 100), (first, first + 20), (50, 80))) == plausible


def test_the_heart_lies_between_the_lungs_in_their_lower_part():
    right, left = fill((100, 100), (10, 90), (20, 40)), fill((100, 100), (10, 90), (60, 80))
    # 45 % of the 79 rows from the first to the last are the lowest 36.
    np.testing.assert_array_equal(segment_heart(left, right, SETTINGS), fill((100, 100), (53, 90), (40, 60)))
    half = StatisticsSettings(heart_share=0.5)
    assert segment_heart(left, right, half).any(1).nonzero()[0][0] == 50  # round(49.5) is even


def test_the_heart_does_not_reach_below_the_outer_half_of_a_lung():
    """The right lung ends higher, and what the hull has below it belongs to the heart up to the lung's middle."""
    right, left = fill((100, 100), (10, 70), (20, 40)), fill((100, 100), (10, 90), (60, 80))
    columns = segment_heart(left, right, SETTINGS).any(0).nonzero()[0]
    assert columns[0] == 30  # the lung's mean column is 29.5
    columns = segment_heart(left[:, ::-1], right[:, ::-1], SETTINGS)
    mirrored = segment_heart(right[:, ::-1], left[:, ::-1], SETTINGS).any(0).nonzero()[0]
    assert mirrored[-1] == 69
    assert not columns.any()  # with the sides confused nothing lies between


def test_a_region_weighs_most_where_pictures_agree():
    moments = Moments(4, np.zeros((2, 2)), 4 * np.array([[1.0, 4], [9, 16]]), np.zeros((2, 2)))
    weights = weight_by_stability(np.array([[False, True], [True, True]]), moments)
    # Deviations 1 to 4, median 2.5: 1 / 1.8 for 2 becomes 1.
    np.testing.assert_allclose(weights, [[0, 1], [1.8 / 2.2, 1.8 / 2.6]], rtol=1e-6)
    assert weights.dtype == np.float32


def test_both_halves_are_segmented_and_compared():
    pictures = np.stack([thorax(seed)[0] for seed in range(1, 81)])
    halves = tuple(accumulate_moments([pictures[start::2]]) for start in (0, 1))
    combined, masks, iou = segment_with_split_half_iou(halves, SETTINGS)
    assert combined.count == 80
    np.testing.assert_allclose(combined.mean, accumulate_moments([pictures]).mean, atol=1e-9)
    expected = find_lungs_and_heart(combined, SETTINGS)
    assert all((masks[name] == expected[name]).all() for name in expected)
    even, odd = (find_lungs_and_heart(half, SETTINGS) for half in halves)
    overlaps = [(even[name] & odd[name]).sum() / (even[name] | odd[name]).sum() for name in masks]
    assert iou == pytest.approx(np.mean(overlaps), abs=6e-5)
    assert 0.5 < iou < 1


def test_a_half_without_lungs_gives_no_overlap():
    pictures = np.stack([thorax(seed)[0] for seed in range(1, 41)])
    brighter_to_the_left = np.tile(np.linspace(1, 0, 128, dtype=np.float32), (1, 128, 1))
    halves = accumulate_moments([pictures]), accumulate_moments([brighter_to_the_left])
    _, masks, iou = segment_with_split_half_iou(halves, SETTINGS)
    assert iou is None
    assert set(masks) == {"left_lung", "right_lung", "heart"}


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_even_and_odd_images_are_apart_whatever_the_batch(tmp_path, batch):
    cohort = write_cohort(tmp_path / "cohort", count=6, with_noise=False, with_masks=False)
    squares = np.asarray(cohort.split("train").open_squares(64))
    halves = compute_cohort_moments(cohort, StatisticsSettings(size=64, batch=batch))
    assert [half.count for half in halves] == [3, 2]
    for start, half in enumerate(halves):
        np.testing.assert_allclose(half.mean, accumulate_moments([squares[start::2]]).mean, atol=1e-9)


def test_two_training_images_are_enough_and_one_is_not(tmp_path):
    two = write_cohort(tmp_path / "two", count=2, with_noise=False, with_masks=False)
    assert [half.count for half in compute_cohort_moments(two, StatisticsSettings(size=64))] == [1, 1]
    one = write_cohort(tmp_path / "one", count=1, with_noise=False, with_masks=False)
    with pytest.raises(MedpriorError, match=r"too few training images.*found 1"):
        compute_cohort_moments(one, StatisticsSettings(size=64))
