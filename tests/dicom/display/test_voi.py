"""Windows and their fall-back, the full range of the picture."""

import io

import numpy as np
import pytest

from medprior.dicom import read_radiograph
from medprior.dicom.decoding.samples import (
    create_sample_dataset,
    serialise_dataset,
)
from medprior.dicom.display.levels import GreyLevels
from medprior.dicom.display.lut import LookupTable
from medprior.dicom.display.voi import apply_voi, build_window_function, compute_white_level, read_voi_window
from medprior.errors import Rejected
from tests.dicom.sample_files import PICTURE, build_header, build_lut_item, read_dataset


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": "1000"},
        {"WindowCenter": "1000", "WindowWidth": "0"},
        {"WindowCenter": "1000", "WindowWidth": "-5"},
        {"WindowCenter": "90000", "WindowWidth": "10"},
    ],
)
def test_an_unusable_window_falls_back_to_the_full_range(window):
    result = read_dataset(create_sample_dataset(PICTURE, **window))
    assert "window_unusable" in result.flags
    np.testing.assert_allclose(result.pixels, PICTURE / 4095, atol=1e-6)


@pytest.mark.parametrize("text", [b"nan ", b"1,5 ", b"abc ", b"inf ", b"1_0 "])
def test_a_window_that_is_no_number_falls_back(text):
    dataset = create_sample_dataset(PICTURE, WindowCenter="1000", WindowWidth="7777")
    data = serialise_dataset(dataset).replace(b"7777", text)
    result = read_radiograph(io.BytesIO(data))
    assert "window_unusable" in result.flags
    np.testing.assert_allclose(result.pixels, PICTURE / 4095, atol=1e-6)


def test_a_linear_window_is_half_a_unit_to_the_left_and_one_narrower():
    window = build_window_function("LINEAR", 2, 3)
    np.testing.assert_allclose(window(np.float32([0, 0.5, 1, 1.5, 2, 2.5, 9])), [0, 0, 0.25, 0.5, 0.75, 1, 1])
    exact = build_window_function("LINEAR_EXACT", 2, 4)
    np.testing.assert_allclose(exact(np.float32([-1, 0, 1, 2, 4, 5])), [0, 0, 0.25, 0.5, 1, 1])


def test_a_linear_window_of_width_one_is_a_step():
    assert build_window_function("LINEAR", 2, 1)(np.float32([1, 1.5, 1.75, 2])).tolist() == [0, 0, 1, 1]
    assert build_window_function("LINEAR_EXACT", 2, 1)(np.float32([1.5, 2, 2.5])).tolist() == [0, 0.5, 1]


def test_a_sigmoid_is_half_at_its_centre_and_steeper_where_narrow():
    sigmoid = build_window_function("SIGMOID", 2, 4)
    np.testing.assert_allclose(sigmoid(np.float32([1, 2, 3])), [0.26894142, 0.5, 0.73105858], atol=1e-6)
    assert build_window_function("SIGMOID", 0, 1e-6)(np.float32([-1, 1])).tolist() == pytest.approx([0, 1])
    np.testing.assert_allclose(build_window_function("NONESUCH", 2, 3)(np.float32([1])), [0.25])


@pytest.mark.parametrize(
    ("elements", "usable"),
    [
        ({"WindowCenter": "5", "WindowWidth": "1"}, True),
        ({"WindowCenter": "5", "WindowWidth": "0.9"}, False),
        ({"WindowCenter": "5", "WindowWidth": "0.9", "VOILUTFunction": "LINEAR_EXACT"}, True),
        ({"WindowCenter": "5", "WindowWidth": "0", "VOILUTFunction": "LINEAR_EXACT"}, False),
        ({"WindowCenter": "-9e11", "WindowWidth": "2e11"}, False),
        ({"WindowWidth": "5"}, False),
        ({"WindowCenter": "5"}, False),
    ],
)
def test_a_window_is_usable_from_width_one_or_above_zero_if_exact(elements, usable):
    window = read_voi_window(build_header(**elements))
    assert callable(window) if usable else window is False
    assert read_voi_window(build_header()) is None


@pytest.mark.parametrize(("largest", "white"), [(4095, 4095), (2048, 4095), (2047, 2047), (5000, 5000), (0, 4095)])
def test_white_follows_the_stated_bits_unless_the_table_uses_less_than_half_of_them(largest, white):
    table = LookupTable(0, np.array([0, largest, largest // 2], np.float32), 12)
    assert compute_white_level(table) == white


def render_levels(values, **elements):
    levels = GreyLevels(np.arange(len(values), dtype=np.uint16)[None])
    brightness, flags = apply_voi(levels, np.float32(values), build_header(**elements), False)
    return brightness.tolist(), flags


def test_a_table_comes_before_a_window_and_a_window_before_the_full_range():
    table, window = {"VOILUTSequence": [build_lut_item(0, [0, 0, 15], 4)]}, {"WindowCenter": "1.5", "WindowWidth": "3"}
    assert render_levels([0, 1, 2], **table, **window) == ([0, 0, 1], ())
    assert render_levels([0, 1, 2], **window) == ([0, 0.5, 1], ())
    assert render_levels([0, 1, 4]) == ([0, 0.25, 1], ())


def test_what_maps_the_picture_to_one_brightness_is_passed_over_with_a_flag():
    flat = {"VOILUTSequence": [build_lut_item(0, [7, 7, 7], 4)]}
    assert render_levels([0, 1, 2], **flat) == ([0, 0.5, 1], ("voi_lut_unusable",))
    dark = flat | {"WindowCenter": "500", "WindowWidth": "3"}
    assert render_levels([0, 1, 2], **dark) == ([0, 0.5, 1], ("voi_lut_unusable", "window_unusable"))


def test_a_picture_of_one_value_is_constant():
    with pytest.raises(Rejected, match="same value"):
        render_levels([3, 3])
    levels = GreyLevels(np.array([[0, 1]], dtype=np.uint16))
    levels.mask(np.zeros((1, 2), bool))
    with pytest.raises(Rejected, match="padding"):
        apply_voi(levels, np.float32([0, 1]), build_header(), False)
