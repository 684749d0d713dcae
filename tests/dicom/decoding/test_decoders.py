"""Compressed frames: every lossless syntax gives the same picture, lies and garbage a code."""

import io

import numpy as np
import pytest

from medprior.dicom import read_radiograph
from medprior.dicom.decoding.samples import (
    compress_dataset,
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.errors import Rejected
from tests.dicom.sample_files import PICTURE, get_reject_code, read_dataset


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize(
    "syntax",
    ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57",
     "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"],
)  # fmt: skip
def test_lossless_syntaxes_give_the_same_picture(syntax, bits):
    picture = create_sample_picture(bits=bits)
    plain = read_dataset(create_sample_dataset(picture, bits))
    packed = read_dataset(compress_dataset(create_sample_dataset(picture, bits), syntax))
    np.testing.assert_array_equal(packed.pixels, plain.pixels)
    assert packed.pixel_sha256 == plain.pixel_sha256


def test_twelve_bit_extended_jpeg_is_right_to_four_levels():
    packed = read_dataset(compress_dataset(create_sample_dataset(PICTURE), "1.2.840.10008.1.2.4.51"))
    np.testing.assert_allclose(packed.pixels, PICTURE / 4095, atol=4 / 4095)


def test_a_size_that_contradicts_the_codestream_is_a_mismatch():
    dataset = compress_dataset(create_sample_dataset(PICTURE), "1.2.840.10008.1.2.4.90")
    dataset.Rows = 4096
    assert get_reject_code(serialise_dataset(dataset)) == "codestream_mismatch"


def test_video_syntax_is_unsupported():
    dataset = compress_dataset(create_sample_dataset(PICTURE), "1.2.840.10008.1.2.4.90")
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    assert get_reject_code(serialise_dataset(dataset)) == "syntax_unsupported"


def test_a_garbage_codestream_is_refused():
    dataset = compress_dataset(create_sample_dataset(PICTURE), "1.2.840.10008.1.2.4.70")
    data = serialise_dataset(dataset)
    start = data.rindex(b"\xff\xda") + 20
    torn = data[:start] + bytes(200) + data[start + 200 :]
    try:
        result = read_radiograph(io.BytesIO(torn))
    except Rejected as error:
        code = error.code
    else:
        code = "decode_failed" if np.isfinite(result.pixels).all() else "not finite"
    assert code in {"decode_failed", "codestream"}
