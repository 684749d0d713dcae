import io
import struct

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from medprior.bench.deploy_inputs import (
    FILE_FORMS,
    LABELS,
    build_length_bomb,
    build_png_bomb,
    build_rows_bomb,
    convert_file_format,
    create_good_files,
    create_random_model,
)
from medprior.deploy.inference.example import create_example_dicom
from medprior.dicom import read_image
from medprior.errors import Rejected
from medprior.finetune.model import load_finetuned_model


@pytest.fixture(scope="module")
def plain() -> bytes:
    """An uncompressed DICOM file of 64 x 64."""
    return create_example_dicom(seed=4, side=64)


@pytest.mark.parametrize("form", FILE_FORMS)
def test_every_form_holds_the_same_picture(plain, form):
    expected = read_image(io.BytesIO(plain)).pixels
    pixels = read_image(io.BytesIO(convert_file_format(plain, form))).pixels
    # PNG keeps the upper 8 of 12 bits.
    np.testing.assert_allclose(pixels, expected, atol=1 / 255 if form == "png" else 1e-6)


def test_good_files_have_the_size_asked_for():
    files = create_good_files(48, ("uncompressed", "png"))
    assert list(files) == ["uncompressed", "png"]
    assert dcmread(io.BytesIO(files["uncompressed"])).pixel_array.shape == (48, 48)
    stored = dcmread(io.BytesIO(files["uncompressed"])).pixel_array
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(files["png"]))), stored // 16)


def test_bombs_announce_more_than_they_hold_and_are_refused(plain):
    assert dcmread(io.BytesIO(build_rows_bomb(plain))).Rows == 65535
    long = build_length_bomb(plain)
    assert len(long) == len(plain)
    assert struct.pack("<I", 2**31) in long
    png = build_png_bomb(3000)
    assert struct.unpack(">II", png[16:24]) == (3000, 3000)
    for bomb in (build_rows_bomb(plain), long, build_png_bomb()):
        with pytest.raises(Rejected):
            read_image(io.BytesIO(bomb))


@pytest.mark.parametrize(("task", "names"), [("classification", LABELS), ("segmentation", ("left_lung",))])
def test_a_model_with_random_weights_is_a_real_one(tmp_path, task, names):
    network = {"width": 24, "depth": 3, "heads": 3, "patch": 8, "image_size": 32}
    model = load_finetuned_model(create_random_model(tmp_path / "model", task, network))
    prediction = model.predict_pixels(np.random.default_rng(0).random((40, 30), dtype=np.float32))
    if task == "classification":
        assert tuple(prediction.probabilities) == names
    else:
        assert prediction.masks["left_lung"].shape == (40, 30)
