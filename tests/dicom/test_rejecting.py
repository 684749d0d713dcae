"""Hostile and useless files: each gets its code, none gets through, none leaks."""

import gzip
import io
import os
import socket
import struct
import zlib

import numpy as np
import pytest
from pydicom.dataset import Dataset

from medprior.dicom import Policy, read_image, read_radiograph, read_raster
from medprior.dicom.decoding.samples import (
    compress_dataset,
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.errors import Rejected

PICTURE = create_sample_picture()
GOOD = serialise_dataset(create_sample_dataset(PICTURE))


def code_of(data, policy=None):
    with pytest.raises(Rejected) as caught:
        read_radiograph(io.BytesIO(data) if isinstance(data, bytes) else data, policy)
    return caught.value.code


HEADERS = {
    "ct": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}, "sop_class"),
    "liar": ({"Modality": "MG"}, "modality"),
    "raw": ({"PresentationIntentType": "FOR PROCESSING"}, "for_processing"),
    "raw_class": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"}, "for_processing"),
    "screen": (
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT", "ConversionType": "WSD"},
        "secondary_capture",
    ),
    "hand": ({"BodyPartExamined": "HAND"}, "body_part"),
    "text": ({"BurnedInAnnotation": "YES"}, "burned_in"),
    "movie": ({"NumberOfFrames": "2"}, "frames"),
    "rgb": ({"PhotometricInterpretation": "RGB"}, "photometric"),
    "samples": ({"SamplesPerPixel": 3}, "photometric"),
    "wide": ({"BitsAllocated": 32}, "bits_unsupported"),
    "bits": ({"BitsStored": 17}, "bits_inconsistent"),
    "high": ({"HighBit": 3}, "bits_inconsistent"),
    "slope": ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "rescale"),
    "huge": ({"RescaleSlope": "1e300", "RescaleIntercept": "0"}, "rescale"),
    "tall": ({"Rows": 2 * PICTURE.shape[0]}, "pixel_length"),
    "short": ({"Rows": PICTURE.shape[0] - 10}, "pixel_length"),
    "vast": ({"Rows": 65535, "Columns": 65535}, "size"),
    "none": ({"Rows": 0}, "size"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers(name):
    elements, code = HEADERS[name]
    assert code_of(serialise_dataset(create_sample_dataset(PICTURE, **elements))) == code


def test_constant_and_all_padding():
    flat = np.full_like(PICTURE, 7)
    assert code_of(serialise_dataset(create_sample_dataset(flat))) == "constant"
    assert code_of(serialise_dataset(create_sample_dataset(flat, PixelPaddingValue=7))) == "constant"


@pytest.mark.parametrize("length", [0, 1, 100, 131, 132, 140, 200, 400, len(GOOD) - 1])
def test_cut_anywhere_is_a_code(length):
    assert code_of(GOOD[:length]) in {
        "empty", "not_dicom", "truncated", "no_pixels", "sop_class", "malformed", "photometric",
        "body_part", "size", "bits_unsupported", "modality",
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(150))
def test_flipped_bytes_give_a_code_or_a_finite_picture(seed):
    rng = np.random.default_rng(seed)
    data = bytearray(serialise_dataset(compress_dataset(create_sample_dataset(PICTURE), "1.2.840.10008.1.2.4.80")))
    if seed % 2:
        data = bytearray(GOOD)
    for index in rng.integers(132, min(len(data), 900), 4):
        data[index] = rng.integers(256)
    try:
        result = read_radiograph(io.BytesIO(bytes(data)))
    except Rejected:
        return
    assert np.isfinite(result.pixels).all()
    assert 0 <= result.pixels.min() < result.pixels.max() <= 1


@pytest.mark.parametrize(
    "data",
    [gzip.compress(GOOD), b"PK\x03\x04" + GOOD, b"hello world" * 40, b"\x00\x05\x16\x07" + GOOD],
)
def test_other_content_is_not_dicom(data):
    assert code_of(data) == "not_dicom"


def test_lying_size_in_the_codestream():
    dataset = compress_dataset(create_sample_dataset(PICTURE), "1.2.840.10008.1.2.4.90")
    dataset.Rows = 4096
    assert code_of(serialise_dataset(dataset)) == "codestream_mismatch"


def test_video_syntax_is_unsupported():
    dataset = compress_dataset(create_sample_dataset(PICTURE), "1.2.840.10008.1.2.4.90")
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    assert code_of(serialise_dataset(dataset)) == "syntax_unsupported"


def test_garbage_codestream():
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


def deflated(payload: bytes) -> bytes:
    dataset = create_sample_dataset(PICTURE)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data = serialise_dataset(dataset).replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.1.99", 1)
    # The UID is two bytes longer: its own length and the group's length follow.
    at = data.index(b"UI\x14\x00" + b"1.2.840.10008.1.2.1.99")
    data = data[: at + 2] + b"\x16\x00" + data[at + 4 :]
    group = struct.unpack_from("<L", data, 140)[0] + 2
    data = data[:140] + struct.pack("<L", group) + data[144:]
    body = 144 + group
    machine = zlib.compressobj(9, wbits=-15)
    return data[:body] + machine.compress(data[body:] + payload) + machine.flush()


def test_deflated_reads_and_a_bomb_is_stopped():
    result = read_radiograph(io.BytesIO(deflated(b"")))
    np.testing.assert_allclose(result.pixels, PICTURE / 4095, atol=1e-6)
    bomb = deflated(bytes(30_000_000))
    assert len(bomb) < 100_000
    assert code_of(bomb, Policy(max_bytes=10_000_000)) == "too_large"


def test_deep_nesting_is_stopped():
    inner = Dataset()
    for _ in range(400):
        outer = Dataset()
        outer.RequestAttributesSequence = [inner]
        outer["RequestAttributesSequence"].is_undefined_length = True
        inner = outer
    head = serialise_dataset(create_sample_dataset(PICTURE))
    start = head.index(b"\x18\x00\x15\x00CS")
    nested = b"".join(b"\x10\x00\x02\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" for _ in range(3000))
    assert code_of(head[:start] + nested + head[start:]) in {"too_deep", "malformed", "truncated"}


def test_too_many_elements():
    many = b"".join(struct.pack("<HH2sH", 0x0011, i % 65536, b"LO", 0) for i in range(2000))
    start = GOOD.index(b"\x18\x00\x15\x00CS")
    data = GOOD[:start] + many + GOOD[start:]
    assert code_of(data, Policy(max_elements=500)) == "too_many_elements"


def test_icon_pixels_are_not_the_picture():
    icon = Dataset()
    icon.Rows = icon.Columns = 64
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.BitsAllocated = icon.BitsStored = 8
    icon.HighBit, icon.PixelRepresentation = 7, 0
    icon.add_new(0x7FE00010, "OB", bytes(range(64)) * 64)
    result = read_radiograph(io.BytesIO(serialise_dataset(create_sample_dataset(PICTURE, IconImageSequence=[icon]))))
    np.testing.assert_allclose(result.pixels, PICTURE / 4095, atol=1e-6)


def test_only_regular_files_are_opened(tmp_path):
    good = tmp_path / "good"
    good.write_bytes(GOOD)
    assert read_radiograph(good).pixels.shape == PICTURE.shape
    (tmp_path / "link").symlink_to(good)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
    for name in ("link", "pipe", "s", "."):
        assert code_of(tmp_path / name) == "not_a_file"
    assert code_of(tmp_path / "absent") == "unreadable"
    assert code_of(good, Policy(max_bytes=100)) == "too_large"


@pytest.mark.parametrize("name", HEADERS)
def test_no_error_quotes_the_file(name):
    canary = "CANARY^SECRET"
    elements = HEADERS[name][0] | {
        "PatientName": canary, "PatientID": canary, "StudyDescription": canary,
        "InstitutionName": canary, "AccessionNumber": canary,
    }  # fmt: skip
    with pytest.raises(Rejected) as caught:
        read_radiograph(io.BytesIO(serialise_dataset(create_sample_dataset(PICTURE, **elements))))
    error = caught.value
    assert "CANARY" not in str(error) + repr(error) + repr(error.__cause__)
    assert error.__suppress_context__ or error.__context__ is None


def test_raster_pictures():
    from PIL import Image

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
        "not_an_image": io.BytesIO(GOOD),
    }
    for code, stream in bad.items():
        with pytest.raises(Rejected) as caught:
            read_raster(stream)
        assert caught.value.code == code
