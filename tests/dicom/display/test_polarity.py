"""Air is dark and bone bright whatever the photometric interpretation."""

import numpy as np
import pytest

from medprior.dicom.decoding.samples import create_sample_dataset
from medprior.dicom.display.polarity import find_polarity_conflict, invert_polarity, is_polarity_inverted
from tests.dicom.sample_files import PICTURE, build_header, read_dataset


@pytest.mark.parametrize(("interpretation", "inverted"), [("MONOCHROME1", True), ("MONOCHROME2", False)])
def test_monochrome1_alone_is_inverted(interpretation, inverted):
    dataset = create_sample_dataset(PICTURE, PhotometricInterpretation=interpretation)
    assert is_polarity_inverted(build_header(PhotometricInterpretation=interpretation)) == inverted
    result = read_dataset(dataset)
    assert result.polarity_inverted == inverted
    stored = PICTURE / 4095
    np.testing.assert_allclose(result.pixels, 1 - stored if inverted else stored, atol=1e-6)


def test_dark_and_bright_are_exchanged():
    pixels = np.array([[0, 0.25], [0.75, 1]], dtype=np.float32)
    inverted = invert_polarity(pixels)
    np.testing.assert_array_equal(inverted, np.array([[1, 0.75], [0.25, 0]], dtype=np.float32))
    assert inverted.dtype == np.float32


@pytest.mark.parametrize(
    ("interpretation", "shape", "flagged"),
    [
        ("MONOCHROME1", "INVERSE", False),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "", False),
    ],
)
def test_a_presentation_shape_of_the_other_polarity_is_flagged(interpretation, shape, flagged):
    header = build_header(PhotometricInterpretation=interpretation, PresentationLUTShape=shape)
    assert find_polarity_conflict(header) == (("presentation_shape_conflict",) if flagged else ())
