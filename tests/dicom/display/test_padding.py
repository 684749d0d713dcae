"""Padding and shutters: dark, not valid and left out of the range of grey values."""

import numpy as np
import pytest

from medprior.dicom.decoding.decoders import PixelLayout
from medprior.dicom.decoding.samples import create_sample_dataset
from medprior.dicom.display.levels import GreyLevels
from medprior.dicom.display.padding import compute_shutter_mask, compute_unpadded_mask, is_storable_value
from tests.dicom.sample_files import PICTURE, build_header, read_dataset


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_dark_and_out_of_the_statistics(photometric):
    stored = np.clip(PICTURE, 200, 3000)
    stored[:20] = 4095
    stored[-10:] = 4090
    dataset = create_sample_dataset(
        stored, PhotometricInterpretation=photometric, PixelPaddingValue=4095,
        PixelPaddingRangeLimit=4090,
    )  # fmt: skip
    result = read_dataset(dataset)
    assert not result.valid[:20].any()
    assert not result.valid[-10:].any()
    assert result.valid[20:-10].all()
    assert not result.pixels[~result.valid].any()
    inner = stored[20:-10].astype(float)
    inner = (inner - inner.min()) / np.ptp(inner)
    expected = 1 - inner if photometric == "MONOCHROME1" else inner
    np.testing.assert_allclose(result.pixels[20:-10], expected, atol=1e-6)


WINDOW = {"WindowCenter": "2048", "WindowWidth": "4096"}
FALLING = {"RescaleSlope": "-1", "RescaleIntercept": "4095"}


@pytest.mark.parametrize(
    ("elements", "brightness"),
    [
        ({}, [1, 0.75, 0]),
        ({"PixelPaddingRangeLimit": 5}, [1, 0.75, 0]),
        (WINDOW, [1 - 300 / 4095, 1 - 1100 / 4095, 1 - 3500 / 4095]),
        (FALLING, [0, 0.25, 1]),
        (FALLING | WINDOW, [300 / 4095, 1100 / 4095, 3500 / 4095]),
    ],
)
def test_padding_of_zero_is_dark_in_monochrome1_and_changes_no_brightness(elements, brightness):
    # 0 is the bright end of MONOCHROME1, where the standard has padding at the dark one (PS3.3 C.7.5.1.1.2).
    stored = np.full(PICTURE.shape, 300, np.uint16)
    stored[:20], stored[40:60], stored[60:] = 0, 1100, 3500
    dataset = create_sample_dataset(stored, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0, **elements)
    result = read_dataset(dataset)
    assert (result.valid[:20].any(), result.valid[20:].all()) == (False, True)
    assert result.pixels[:20].max() == 0
    np.testing.assert_allclose(result.pixels[[20, 40, 60], 0], brightness, atol=1e-6)


def test_negative_padding_is_read_as_signed():
    stored = PICTURE.astype("i2") - 1000
    stored[:8] = -2000
    result = read_dataset(create_sample_dataset(stored, 13, PixelPaddingValue=-2000))
    assert not result.valid[:8].any()
    assert result.valid[8:].all()


def test_shutter_is_dark_and_not_valid():
    result = read_dataset(
        create_sample_dataset(
            PICTURE, ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=11,
            ShutterRightVerticalEdge=70, ShutterUpperHorizontalEdge=21,
            ShutterLowerHorizontalEdge=90,
        )
    )  # fmt: skip
    assert result.valid.sum() == 60 * 70
    assert result.valid[20:90, 10:70].all()
    assert not result.pixels[~result.valid].any()


TWELVE_BITS = PixelLayout(1, 6, 16, 12, 11, False)


def list_valid_cells(cells, stored=None, layout=TWELVE_BITS, **elements):
    """The cells that are no padding, or None where the header names no padding that occurs."""
    cells = np.array([cells], dtype=np.uint16)
    levels = GreyLevels(cells)
    values = np.arange(levels.count, dtype=np.int32) if stored is None else stored(np.arange(levels.count))
    mask = compute_unpadded_mask(levels, values.astype(np.int32), build_header(**elements), layout)
    return None if mask is None else cells[mask].tolist()


def test_padding_is_one_value_or_a_range_with_both_ends_in_either_order():
    cells = [3, 4, 5, 6, 7, 8]
    assert list_valid_cells(cells, PixelPaddingValue=5) == [3, 4, 6, 7, 8]
    assert list_valid_cells(cells, PixelPaddingValue=5, PixelPaddingRangeLimit=7) == [3, 4, 8]
    assert list_valid_cells(cells, PixelPaddingValue=7, PixelPaddingRangeLimit=5) == [3, 4, 8]
    assert list_valid_cells(cells, PixelPaddingValue=9) is None
    assert list_valid_cells(cells) is None


def test_a_padding_value_that_no_stored_value_can_have_is_compared_with_the_cells():
    cells = [7, 0xF007, 8]
    mask_upper_bits = lambda table: table & 0xFFF  # noqa: E731
    assert list_valid_cells(cells, mask_upper_bits, PixelPaddingValue=0xF007) == [7, 8]
    assert list_valid_cells(cells, mask_upper_bits, PixelPaddingValue=7) == [8]


@pytest.mark.parametrize(
    ("signed", "value", "storable"),
    [(False, 0, True), (False, 4095, True), (False, 4096, False), (False, -1, False),
     (True, -2048, True), (True, 2047, True), (True, 2048, False), (True, -2049, False)],
)  # fmt: skip
def test_stored_values_have_the_range_of_their_bits(signed, value, storable):
    assert is_storable_value(value, PixelLayout(1, 1, 16, 12, 11, signed)) == storable


def draw_shutter(shape=(4, 5), **elements):
    """The mask as rows of 0 and 1, and the flags."""
    mask, flags = compute_shutter_mask(build_header(**elements), shape)
    return (None if mask is None else ["".join(map(str, row)) for row in mask.astype(int)]), flags


RECTANGLE = {
    "ShutterLeftVerticalEdge": 2, "ShutterRightVerticalEdge": 3,
    "ShutterUpperHorizontalEdge": 1, "ShutterLowerHorizontalEdge": 2,
}  # fmt: skip
CIRCLE = {"CenterOfCircularShutter": [2, 3], "RadiusOfCircularShutter": 1}


def test_shutter_edges_count_from_one_and_belong_to_the_inside():
    drawn = draw_shutter(ShutterShape="RECTANGULAR", **RECTANGLE)
    assert drawn == (["01100", "01100", "00000", "00000"], ("shutter",))


def test_a_circle_and_a_polygon_name_the_row_before_the_column():
    drawn, _ = draw_shutter(ShutterShape="CIRCULAR", **CIRCLE)
    assert drawn == ["00100", "01110", "00100", "00000"]
    drawn, _ = draw_shutter(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=[1, 2, 1, 4, 3, 4, 3, 2])
    assert drawn == ["01110", "01110", "01110", "00000"]


def test_several_shutters_leave_what_is_inside_all_of_them():
    drawn = draw_shutter(ShutterShape=["RECTANGULAR", "CIRCULAR"], **RECTANGLE, **CIRCLE)
    assert drawn == (["00100", "01100", "00000", "00000"], ("shutter",))
    apart = CIRCLE | {"CenterOfCircularShutter": [4, 5]}
    drawn = draw_shutter(ShutterShape=["RECTANGULAR", "CIRCULAR"], **RECTANGLE, **apart)
    assert drawn == (["01100", "01100", "00000", "00000"], ("shutter", "shutter_unusable"))


@pytest.mark.parametrize(
    "elements",
    [
        {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 2},
        {"ShutterShape": "RECTANGULAR"} | RECTANGLE | {"ShutterUpperHorizontalEdge": 3},
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [2, 3]},
        {"ShutterShape": "CIRCULAR", "RadiusOfCircularShutter": b"x ", "CenterOfCircularShutter": [2, 3]},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 3, 3]},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 3, 3, 1, 3, 2]},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 3, 3, 1, 200000]},
    ],
)
def test_an_impossible_shutter_is_ignored_with_a_flag(elements):
    assert draw_shutter(**elements) == (None, ("shutter_unusable",))


def test_without_a_shutter_there_is_no_mask():
    assert draw_shutter() == (None, ())
    assert draw_shutter(ShutterShape="BITMAP") == (None, ())


def test_a_triangle_is_the_smallest_polygon():
    drawn = draw_shutter(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=[1, 1, 1, 3, 3, 1])
    assert drawn == (["11100", "11000", "10000", "00000"], ("shutter",))
