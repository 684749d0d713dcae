"""Grey PNG and JPEG pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from medprior.dicom import read_image, read_raster
from medprior.dicom.decoding.samples import (
    create_sample_picture,
)
from medprior.errors import Rejected
from tests.dicom.sample_files import GOOD_FILE


def test_grey_pictures_are_read_and_others_refused():

    def encoded(array, mode=None, **options):
        buffer = io.BytesIO()
        Image.fromarray(array, mode=mode).save(buffer, **({"format": "PNG"} | options))
        return io.BytesIO(buffer.getvalue())

    eight = create_sample_picture(bits=8).astype("u1")
    np.testing.assert_allclose(read_image(encoded(eight)).pixels, eight / 255, atol=1e-6)
    sixteen = create_sample_picture(bits=16)
    np.testing.assert_allclose(read_image(encoded(sixteen)).pixels, sixteen / 65535, atol=1e-6)
    grey = np.stack([eight] * 3, axis=-1)
    np.testing.assert_allclose(read_image(encoded(grey)).pixels, eight / 255, atol=1e-6)
    assert read_image(encoded(eight, format="JPEG")).syntax == "jpeg"
    colour = grey.copy()
    colour[..., 0] //= 2
    bad = {
        "colour": encoded(colour),
        "size": encoded(eight[:20]),
        "constant": encoded(eight * 0),
        "decode_failed": io.BytesIO(encoded(eight).getvalue()[:200]),
        "not_an_image": io.BytesIO(GOOD_FILE),
    }
    for code, stream in bad.items():
        with pytest.raises(Rejected) as caught:
            read_raster(stream)
        assert caught.value.code == code
