"""The JSON answer and the pictures it includes."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from medprior.deploy import load_model
from tests.deploy.serving import post_radiograph


def test_extras_are_what_was_asked(server, classifier, segmenter, dicom):
    want = load_model(classifier, segmenter=segmenter).predict(dicom)
    answer = post_radiograph(server, dicom.read_bytes(), include="masks,attention,contours,pixels").json()
    for name, mask in want.masks.items():
        image = Image.open(io.BytesIO(base64.b64decode(answer["masks"][name])))
        assert np.array_equal(np.asarray(image) > 0, mask)
        xs, ys = np.concatenate([np.array(line) for line in answer["contours"][name]]).T
        found = np.nonzero(mask)
        assert xs.min() == pytest.approx(found[1].min(), abs=1.5)
        assert xs.max() == pytest.approx(found[1].max() + 1, abs=1.5)
        assert ys.min() == pytest.approx(found[0].min(), abs=1.5)
        assert ys.max() == pytest.approx(found[0].max() + 1, abs=1.5)
    for name, looked in want.attention.items():
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["attention"][name]))))
        scaled = image / 255 * answer["attention_peak"][name]
        assert np.abs(scaled - looked).max() < 0.01 * looked.max()
    pixels = answer["pixels"]
    values = np.frombuffer(base64.b64decode(pixels["data"]), "<u2")
    shown = values.reshape(pixels["rows"], pixels["columns"]) / 65535
    assert np.abs(shown - want.pixels).max() < 1e-4
    assert set(post_radiograph(server, dicom.read_bytes()).json()).isdisjoint({"masks", "pixels"})
    assert post_radiograph(server, dicom.read_bytes(), include="everything").status_code == 422
