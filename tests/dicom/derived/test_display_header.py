"""How a file asks to be displayed, read for the objects that must display it alike."""

import io

import numpy as np
import pytest
from pydicom.dataset import Dataset

from medprior.dicom.derived.display_header import read_display_header, read_geometry_spacing
from tests.dicom.object_sources import source


def table(**elements) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [4, 0, 12]
    item.LUTData = np.array([0, 100, 2000, 4095], "<u2").tobytes()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def read(**changes) -> Dataset:
    return read_display_header(io.BytesIO(source(**changes)))


def test_window_and_rescale_are_copied():
    header = read(
        WindowCenter=[2048, 1000], WindowWidth=[4096, 500], VOILUTFunction="SIGMOID",
        RescaleSlope="2", RescaleIntercept="-1024",
    )  # fmt: skip
    assert (list(header.WindowCenter), list(header.WindowWidth)) == ([2048, 1000], [4096, 500])
    assert header.VOILUTFunction == "SIGMOID"
    assert (header.RescaleSlope, header.RescaleIntercept, header.RescaleType) == (2, -1024, "US")
    assert str(header.PatientName) == "Müller^Änne"


def test_tables_win_over_window_and_rescale():
    header = read(
        VOILUTSequence=[table()], ModalityLUTSequence=[table(ModalityLUTType="OD")],
        RescaleSlope="2", RescaleIntercept="0", RescaleType="US",
    )  # fmt: skip
    assert np.frombuffer(header.VOILUTSequence[0].LUTData, "<u2").tolist() == [0, 100, 2000, 4095]
    assert list(header.VOILUTSequence[0].LUTDescriptor) == [4, 0, 12]
    assert header.ModalityLUTSequence[0].ModalityLUTType == "OD"
    assert "WindowCenter" not in header
    assert "RescaleSlope" not in header


@pytest.mark.parametrize(
    "changes",
    [
        {"WindowCenter": [1, 2], "WindowWidth": 4},
        {"WindowWidth": 0},
        {"RescaleSlope": "0", "RescaleIntercept": "0"},
        {"VOILUTSequence": [table(LUTData=b"\0\0")], "WindowCenter": None, "WindowWidth": None},
    ],
)
def test_what_cannot_be_used_is_left_out(changes):
    header = read(**changes)
    asked = {"WindowWidth"} if "WindowWidth" in changes else {"VOILUTSequence", "RescaleSlope"}
    assert not asked & {element.keyword for element in header}


@pytest.mark.parametrize(
    ("changes", "spacing"),
    [
        ({}, (1.0, 1.0)),
        ({"PixelSpacing": [0.5, 0.25]}, (0.5, 0.25)),
        ({"ImagerPixelSpacing": [0.3, 0.2], "PixelSpacing": [0.5, 0.25]}, (0.3, 0.2)),
        ({"ImagerPixelSpacing": [0, 0.2]}, (1.0, 1.0)),
    ],
)
def test_the_spacing_is_that_of_the_detector_else_of_the_pixels(changes, spacing):
    assert read_geometry_spacing(read(**changes)) == spacing


@pytest.mark.parametrize(("ratio", "expected"), [([3, 2], [3, 2]), ([3, 0], None), ([0, 2], None), ([-3, 2], None)])
def test_a_ratio_of_sides_is_two_numbers_above_zero(ratio, expected):
    aspect = read(PixelAspectRatio=ratio).get("PixelAspectRatio")
    assert (None if aspect is None else [int(value) for value in aspect]) == expected


def test_one_window_without_width_leaves_out_all_and_an_unknown_function_itself_alone():
    assert "WindowCenter" not in read(WindowCenter=[1, 2], WindowWidth=[4, 0])
    header = read(WindowCenter=2048, WindowWidth=4096, VOILUTFunction="OTHER")
    assert (header.WindowCenter, header.WindowWidth) == (2048, 4096)
    assert "VOILUTFunction" not in header
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        assert read(WindowCenter=1, WindowWidth=2, VOILUTFunction=function).VOILUTFunction == function


def test_types_of_the_modality_transformation_are_kept_or_unspecified():
    header = read(RescaleSlope="-1", RescaleIntercept="0.5", RescaleType="OD")
    assert (header.RescaleSlope, header.RescaleIntercept, header.RescaleType) == (-1, 0.5, "OD")
    assert read(ModalityLUTSequence=[table()]).ModalityLUTSequence[0].ModalityLUTType == "US"
    assert "RescaleSlope" not in read(RescaleSlope="2")
    assert "RescaleIntercept" not in read(RescaleIntercept="2")
