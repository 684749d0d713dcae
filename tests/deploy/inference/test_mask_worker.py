"""Masks on request against those of the predictor."""

import io

import numpy as np
import pytest
from PIL import Image

from medprior.deploy import load_model
from medprior.deploy.inference.mask_worker import MaskWorker
from medprior.errors import Rejected
from medprior.phantom import render_phantom


def encode_file(pixels):
    stream = io.BytesIO()
    Image.fromarray(np.rint(pixels * 65535).astype(np.uint16)).save(stream, "PNG")
    return np.frombuffer(stream.getvalue(), np.uint8)


def test_masks_are_those_of_the_anatomy_model():
    file = encode_file(render_phantom(5, size=256).pixels)
    ((facts, masks),) = MaskWorker().answer({}, [file])
    expected = load_model().predict(file.tobytes())
    assert facts == {"names": list(expected.masks), "flags": list(expected.flags)}
    for mask, name in zip(masks, expected.masks, strict=True):
        np.testing.assert_array_equal(mask, expected.masks[name])


def test_a_file_that_is_no_radiograph_is_refused():
    with pytest.raises(Rejected, match="same value"):
        list(MaskWorker().answer({}, [encode_file(np.full((64, 64), 0.5))]))
