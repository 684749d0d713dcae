"""The result of reading: its digest, its metadata and how it travels."""

import numpy as np

from medprior.dicom.radiograph import compute_pixel_sha256


def test_the_digest_is_of_the_values_however_they_are_kept():
    values = np.arange(-2048, 2048, dtype=np.int32)
    picture = np.random.default_rng(11).integers(7, 4096, (700, 900)).astype("<u2")
    assert compute_pixel_sha256(picture, values) == compute_pixel_sha256(values[picture])
    assert compute_pixel_sha256(picture) == compute_pixel_sha256(picture.astype(">u2"))
