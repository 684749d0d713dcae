"""Label maps: one number a pixel, read back with pydicom, highdicom and our own reader."""

import io

import highdicom
import numpy as np
import pytest

from medprior.dicom import read_image
from medprior.dicom.derived.derived_object import read_source_header, serialise_object
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.seg import build_label_map, build_segmentation, read_seg
from tests.dicom.object_sources import CASES, MAKER, blob, opened, source
from tests.dicom.validation import list_validation_errors


def parts() -> dict[str, np.ndarray]:
    """A blob, a smaller mask inside of it, and one apart from both, on the stored pixels."""
    inner, apart = np.zeros_like(blob()), np.zeros_like(blob())
    inner[20:30, 8:12] = apart[100:110, 60:90] = True
    return {"heart": blob(), "nodule": inner, "left_lung": apart}


@pytest.mark.parametrize("case", CASES)
def test_pixels_have_the_number_of_the_smallest_mask_on_them(case, tmp_path):
    content = source(**CASES[case])
    header, radiograph = read_source_header(io.BytesIO(content)), read_image(io.BytesIO(content))
    native = NativeGrid.from_radiograph(radiograph)
    masks = {name: native.to_radiograph(mask) for name, mask in parts().items()}
    made = serialise_object(build_label_map(masks, header, native, MAKER))
    heart, nodule, lung = (native.to_stored(mask) for mask in masks.values())
    wanted = np.where(nodule, 2, np.where(heart, 1, np.where(lung, 3, 0)))
    assert np.array_equal(opened(made).pixel_array, wanted)
    seg = highdicom.seg.segread(io.BytesIO(made))
    assert seg.segmentation_type.value == "LABELMAP"
    given_up = f"{(heart & nodule).sum()} of its {heart.sum()} pixels belong to smaller segments"
    assert seg.get_segment_description(1).SegmentDescription == given_up
    assert "SegmentDescription" not in seg.get_segment_description(2)
    read = read_seg(io.BytesIO(made), radiograph)
    assert {name: native.to_stored(mask).sum() for name, mask in read.items()} == {
        "heart": (wanted == 1).sum(), "nodule": (wanted == 2).sum(), "left_lung": (wanted == 3).sum(),
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_validator_finds_no_error_in_the_binary_object(case, tmp_path):
    content = source(**CASES[case])
    header, radiograph = read_source_header(io.BytesIO(content)), read_image(io.BytesIO(content))
    native = NativeGrid.from_radiograph(radiograph)
    masks = {name: native.to_radiograph(mask) for name, mask in parts().items()}
    made = serialise_object(build_segmentation(masks, header, native, MAKER))
    assert list_validation_errors(made, tmp_path) == []
