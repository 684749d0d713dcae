"""Large pictures: read within a worker's memory, or refused with a code that says so."""

import numpy as np
import pytest

from medprior.dicom.bounded_reader import BoundedReader
from medprior.dicom.decoding.samples import create_sample_dataset, serialise_dataset
from medprior.errors import Rejected
from medprior.workers.sandbox import ProcessLimits
from tests.corpus.measured import measured

EVERYTHING = {
    "PhotometricInterpretation": "MONOCHROME1", "WindowCenter": "30000", "WindowWidth": "60000",
    "RescaleSlope": "1.5", "RescaleIntercept": "-5", "PixelPaddingValue": 0,
    "PatientOrientation": ["R", "F"], "VOILUTFunction": "SIGMOID",
}  # fmt: skip


def large(rows, cols):
    down, across = np.arange(rows)[:, None] * 6, np.arange(cols)[None] * 2
    return (down + across + 17).astype("u2")


@pytest.mark.parametrize("elements", [{}, EVERYTHING])
def test_42_megapixels_of_16_bits_fit_a_worker(elements):
    picture = large(6000, 7000)
    spent = measured(serialise_dataset(create_sample_dataset(picture, 16, **elements)), ProcessLimits())
    assert not isinstance(spent.outcome, Rejected), spent.outcome
    assert spent.outcome.pixels.shape == (6000, 7000)
    assert spent.peak_bytes < 2**30
    if not elements:
        expected = (picture[::500, ::500] - 17.0) / (int(picture.max()) - 17)
        np.testing.assert_allclose(spent.outcome.pixels[::500, ::500], expected, atol=1e-6)


def test_what_does_not_fit_is_refused_as_such(tmp_path):
    path = tmp_path / "large.dcm"
    head = serialise_dataset(create_sample_dataset(large(64, 64), 16, Rows=12000, Columns=16000))
    head = head.replace((64 * 64 * 2).to_bytes(4, "little"), (384_000_000).to_bytes(4, "little"))
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) - 64 * 64 * 2 + 384_000_000)
    with BoundedReader() as reader, pytest.raises(Rejected, match="memory") as caught:
        reader.read(path)
    assert caught.value.code == "memory"
