"""Windows and their fall-back, the full range of the picture."""

import io

import numpy as np
import pytest

from medprior.dicom import read_radiograph
from medprior.dicom.decoding.samples import (
    create_sample_dataset,
    serialise_dataset,
)
from tests.dicom.sample_files import PICTURE, read_dataset


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
