"""Compressed frames: every lossless syntax gives the same picture, lies and garbage a code."""

import io
import os
import struct
import tempfile

import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import generate_frames

from medprior.dicom import read_radiograph
from medprior.dicom.decoding import decoders
from medprior.dicom.decoding.decoders import (
    JPEG2000_FAMILY,
    PixelLayout,
    decode_frame,
    decode_with_plugin,
    decode_with_simpleitk,
    open_scratch_file,
)
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


EIGHT_BITS, SIXTEEN_BITS = PixelLayout(96, 80, 8, 8, 7, False), PixelLayout(96, 80, 16, 16, 15, False)


def build_jpeg_start(precision, rows=96, cols=80, components=1):
    """A JPEG stream that ends after its frame header."""
    return b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 8, precision, rows, cols, components)


def get_decoding_code(frame, syntax, layout):
    with pytest.raises(Rejected) as caught:
        decode_frame(frame, syntax, layout)
    return caught.value.code


@pytest.mark.parametrize(
    ("start", "code"),
    [
        (build_jpeg_start(8), "decode_failed"),
        (build_jpeg_start(9), "codestream_mismatch"),
        (build_jpeg_start(8, rows=80, cols=96), "codestream_mismatch"),
        (build_jpeg_start(8, components=3), "codestream_mismatch"),
    ],
)
def test_what_the_frame_header_states_must_fit_the_cells(start, code):
    assert get_decoding_code(start, uid.JPEGBaseline8Bit, EIGHT_BITS) == code


def test_a_wider_jpeg2000_stream_than_its_cells_is_a_mismatch():
    dataset = compress_dataset(create_sample_dataset(PICTURE), uid.JPEG2000Lossless)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    assert get_decoding_code(frame, uid.JPEG2000Lossless, EIGHT_BITS) == "codestream_mismatch"
    np.testing.assert_array_equal(decode_frame(frame, uid.JPEG2000Lossless, SIXTEEN_BITS), PICTURE)


def test_a_picture_far_larger_than_its_bytes_is_a_bomb_only_above_16_mebibytes():
    frame = struct.pack("<16L", 2, 64, 64, *[0] * 13)
    at_limit, above = PixelLayout(4096, 2048, 16, 16, 15, False), PixelLayout(4097, 2048, 16, 16, 15, False)
    assert get_decoding_code(frame, uid.RLELossless, at_limit) == "decode_failed"
    assert get_decoding_code(frame, uid.RLELossless, above) == "too_large"
    # 4097 x 2048 x 2 bytes are at most 1000 times as many as these.
    assert get_decoding_code(frame.ljust(16782, b"\0"), uid.RLELossless, above) == "decode_failed"
    a_thousandfold = PixelLayout(4125, 2048, 16, 16, 15, False)  # 16 896 000 bytes
    assert get_decoding_code(frame.ljust(16896, b"\0"), uid.RLELossless, a_thousandfold) == "decode_failed"
    assert get_decoding_code(frame.ljust(16895, b"\0"), uid.RLELossless, a_thousandfold) == "too_large"


def test_an_extended_jpeg_of_eight_bits_is_decoded_like_a_baseline_one():
    picture = create_sample_picture(bits=8).astype(np.uint8)
    dataset = compress_dataset(create_sample_dataset(picture, 8), uid.JPEGBaseline8Bit)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    decoded = decode_frame(frame, uid.JPEGExtended12Bit, EIGHT_BITS)
    assert np.abs(decoded.astype(int) - picture).max() <= 4


def test_high_throughput_streams_are_jpeg2000_and_jpeg_ls_is_not():
    assert {syntax.rsplit(".", 1)[1] for syntax in JPEG2000_FAMILY} == {"90", "91", "201", "202", "203"}


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.RLELossless])
def test_damaged_data_reaches_one_codec_only(syntax, monkeypatch):
    dataset = compress_dataset(create_sample_dataset(PICTURE), syntax)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    used = []

    def decode_and_note(plugin, *arguments):
        used.append(plugin)
        return decode_with_plugin(plugin, *arguments)

    monkeypatch.setattr(decoders, "decode_with_plugin", decode_and_note)
    assert get_decoding_code(frame[: len(frame) // 3], syntax, SIXTEEN_BITS) in {"decode_failed", "codestream"}
    assert len(used) <= 1
    if syntax == uid.JPEG2000Lossless:
        # One bad coding style marker: COD with an impossible number of levels.
        place = frame.index(b"\xff\x52")
        bad = frame[: place + 9] + b"\xff" + frame[place + 10 :]
        used.clear()
        assert get_decoding_code(bad, syntax, SIXTEEN_BITS) == "decode_failed"
        assert used == ["pylibjpeg"]


def test_the_next_codec_is_used_where_one_is_not_installed(monkeypatch):
    dataset = compress_dataset(create_sample_dataset(PICTURE), uid.JPEG2000Lossless)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    monkeypatch.setattr(decoders, "DECODER_PLUGINS", {str(uid.JPEG2000Lossless): ("absent", "gdcm")})
    np.testing.assert_array_equal(decode_frame(frame, uid.JPEG2000Lossless, SIXTEEN_BITS), PICTURE)
    monkeypatch.setattr(decoders, "DECODER_PLUGINS", {str(uid.JPEG2000Lossless): ("absent",)})
    assert get_decoding_code(frame, uid.JPEG2000Lossless, SIXTEEN_BITS) == "syntax_unsupported"


def test_simpleitk_reads_from_memory_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    dataset = compress_dataset(create_sample_dataset(PICTURE), uid.JPEG2000Lossless)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    for data in (frame, frame):
        array = decode_with_simpleitk(data, uid.JPEG2000Lossless, SIXTEEN_BITS)
        np.testing.assert_array_equal(array, PICTURE)
    assert os.fstat(open_scratch_file(os.getpid())).st_nlink == 0
    assert not list(tmp_path.iterdir())
