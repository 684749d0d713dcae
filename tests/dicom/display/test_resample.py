"""Resampling: area averages to shrink, linear to grow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medprior.dicom.display.resample import compute_axis_weights, compute_resized_shape, resize_pixels


def twin(row, target):
    """Area average of a step function, by fine subdivision."""
    fine = np.repeat(row, target)
    return fine.reshape(target, len(row)).mean(1)


EDGE_PIXELS = st.sampled_from([0.0, 2.0**-149, 1 - 2.0**-24, 1.0]) | st.floats(0, 1, width=32)
ROWS = st.integers(2, 20).flatmap(lambda length: hnp.arrays(np.float32, length, elements=EDGE_PIXELS))


@given(ROWS, st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_shrinking_is_the_area_average(row, target):
    target = min(len(row), target)
    picture = np.tile(row, (3, 1))
    np.testing.assert_allclose(resize_pixels(picture, 3, target)[1], twin(row, target), atol=1e-5)
    np.testing.assert_allclose(resize_pixels(picture.T, target, 3)[:, 1], twin(row, target), atol=1e-5)


@given(ROWS)
@settings(max_examples=30, deadline=None)
def test_growing_keeps_range_and_a_ramp(row):
    grown = resize_pixels(row[None], 1, 3 * len(row))
    assert row.min() - 1e-6 <= grown.min()
    assert grown.max() <= row.max() + 1e-6
    ramp = resize_pixels(np.arange(8, dtype=np.float32)[None], 1, 16)[0]
    np.testing.assert_allclose(np.diff(ramp)[1:-1], 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((2048, 1024), (512, 256)), ((256, 200), (256, 200)), ((9, 900), (5, 512))],
)
def test_fitted_keeps_aspect_and_never_enlarges(shape, expected):
    assert compute_resized_shape(shape, 512) == expected


@pytest.mark.parametrize("shape", [(64, 1024), (1023, 512), (17, 31)])
def test_resizing_is_its_two_products_to_the_bit(shape):
    picture = np.random.default_rng(11).random(shape, dtype=np.float32)
    rows, cols = 13, 200
    down = compute_axis_weights(shape[0], rows) @ picture
    expected = (compute_axis_weights(shape[1], cols) @ np.ascontiguousarray(down.T)).T
    np.testing.assert_array_equal(resize_pixels(picture, rows, cols), expected)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (3, 2, [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]]),
        (4, 2, [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]),
        (2, 4, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]),
        (1, 3, [[1], [1], [1]]),
        (2, 2, [[1, 0], [0, 1]]),
    ],
)
def test_weights_of_small_axes(source, target, expected):
    np.testing.assert_allclose(compute_axis_weights(source, target).toarray(), expected, atol=1e-7)


def test_each_axis_is_resampled_by_itself():
    picture = np.array([[0, 4, 8], [2, 6, 10]], dtype=np.float32)
    np.testing.assert_allclose(resize_pixels(picture, 1, 3), [[1, 5, 9]])
    np.testing.assert_allclose(resize_pixels(picture, 2, 1), [[4], [6]])
    np.testing.assert_allclose(resize_pixels(picture, 1, 1), [[5]])
    np.testing.assert_array_equal(resize_pixels(picture, 2, 3), picture)


def test_a_side_never_vanishes():
    assert compute_resized_shape((1, 2000), 100) == (1, 100)
