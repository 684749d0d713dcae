"""Padding and shutters: dark, not valid and left out of the range of grey values."""

import numpy as np
import pytest

from medprior.dicom.decoding.samples import create_sample_dataset
from tests.dicom.sample_files import PICTURE, read_dataset


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
