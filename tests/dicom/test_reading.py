"""Every display path against a slow twin written straight from the standard's formulas."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from medprior.dicom import read_radiograph
from medprior.dicom.decoding.samples import (
    compress_dataset,
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.errors import Rejected

PICTURE = create_sample_picture()
REAL = Path(__file__).parents[3] / "shared" / "data" / "dicom"


def read(dataset):
    return read_radiograph(io.BytesIO(serialise_dataset(dataset)))


def lut_item(first, entries, bits=12, word=True):
    item = Dataset()
    kind = "SS" if first < 0 else "US"
    item.add_new(0x00283002, kind, [len(entries) % 65536, first, bits])
    data = np.asarray(entries).astype("<u2" if word else "u1").tobytes()
    item.add_new(0x00283006, "OW", data)
    return item


CURVE = np.rint(4095 * (np.arange(4096) / 4095) ** 1.7).astype(int)
RESCALES = {
    "none": ({}, lambda x: x),
    "line": ({"RescaleSlope": "0.5", "RescaleIntercept": "-100"}, lambda x: 0.5 * x - 100),
    "falling": ({"RescaleSlope": "-1", "RescaleIntercept": "4095"}, lambda x: 4095 - x),
    "table": ({"ModalityLUTSequence": [lut_item(0, CURVE)]}, lambda x: CURVE[x].astype(float)),
}


def linear(c, w):
    return lambda x: np.clip((x - (c - 0.5)) / (w - 1) + 0.5, 0, 1)


VOIS = {
    "none": ({}, lambda x: (x - x.min()) / (x.max() - x.min())),
    "linear": ({"WindowCenter": "1000", "WindowWidth": "1500"}, linear(1000, 1500)),
    "first": ({"WindowCenter": ["900", "2"], "WindowWidth": ["1400", "9"]}, linear(900, 1400)),
    "exact": (
        {"WindowCenter": "1000", "WindowWidth": "1500", "VOILUTFunction": "LINEAR_EXACT"},
        lambda x: np.clip((x - 1000) / 1500 + 0.5, 0, 1),
    ),
    "sigmoid": (
        {"WindowCenter": "1000", "WindowWidth": "1500", "VOILUTFunction": "SIGMOID"},
        lambda x: 1 / (1 + np.exp(-4 * (x - 1000) / 1500)),
    ),
    "table": (
        {"VOILUTSequence": [lut_item(0, CURVE)], "WindowCenter": "1", "WindowWidth": "2"},
        lambda x: CURVE[np.clip(np.rint(x), 0, 4095).astype(int)] / 4095,
    ),
}
SHAPES = (None, "IDENTITY", "INVERSE")


@pytest.mark.parametrize(
    ("photometric", "rescale", "voi", "shape"),
    list(itertools.product(("MONOCHROME1", "MONOCHROME2"), RESCALES, VOIS, SHAPES)),
)
def test_display_pipeline_against_its_twin(photometric, rescale, voi, shape):
    (modality, line), (window, curve) = RESCALES[rescale], VOIS[voi]
    said = {"PresentationLUTShape": shape} if shape else {}
    elements = {"PhotometricInterpretation": photometric} | modality | window | said
    result = read(create_sample_dataset(PICTURE, **elements))
    expected = curve(line(PICTURE.astype(int)).astype(float))
    if photometric == "MONOCHROME1":
        expected = 1 - expected
    np.testing.assert_allclose(result.pixels, expected, atol=2e-6)
    assert result.polarity_inverted == (photometric == "MONOCHROME1")
    conflict = shape == {"MONOCHROME1": "IDENTITY", "MONOCHROME2": "INVERSE"}[photometric]
    assert ("presentation_shape_conflict" in result.flags) == conflict


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_and_sign(bits, signed):
    stored = create_sample_picture(bits=bits).astype(np.int32) - (2 ** (bits - 1) if signed else 0)
    cells = stored.astype("i2" if signed else "u2")
    result = read(create_sample_dataset(cells, bits))
    np.testing.assert_allclose(result.pixels, create_sample_picture(bits=bits) / (2**bits - 1), atol=1e-6)


@pytest.mark.parametrize("upper", ["zero", "overlay", "garbage", "constant"])
@pytest.mark.parametrize("signed", [False, True])
def test_upper_bits_do_not_reach_the_picture(upper, signed):
    rng = np.random.default_rng(0)
    stored = PICTURE.astype(np.int64) - (2048 if signed else 0)
    cells = stored & 0xFFF
    cells |= {
        "zero": 0,
        "overlay": (rng.random(cells.shape) > 0.97).astype(np.int64) << 14,
        "garbage": rng.integers(0, 16, cells.shape) << 12,
        "constant": 0xA000,
    }[upper]
    array = cells.astype("u2").view("i2") if signed else cells.astype("u2")
    np.testing.assert_allclose(read(create_sample_dataset(array)).pixels, PICTURE / 4095, atol=1e-6)


def test_a_picture_wider_than_it_claims_is_refused():
    rng = np.random.default_rng(0)
    noisy = np.clip(PICTURE + rng.normal(0, 8, PICTURE.shape), 0, 4095).astype("u2")
    with pytest.raises(Rejected) as caught:
        read(create_sample_dataset(noisy, 8))
    assert caught.value.code == "bits_inconsistent"


def test_high_bit_above_the_stored_bits_shifts():
    dataset = create_sample_dataset((PICTURE << 4).astype("u2"), 12, HighBit=15)
    np.testing.assert_allclose(read(dataset).pixels, PICTURE / 4095, atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_dark_and_out_of_the_statistics(photometric):
    stored = np.clip(PICTURE, 200, 3000)
    stored[:20] = 4095
    stored[-10:] = 4090
    dataset = create_sample_dataset(
        stored, PhotometricInterpretation=photometric, PixelPaddingValue=4095,
        PixelPaddingRangeLimit=4090,
    )  # fmt: skip
    result = read(dataset)
    assert not result.valid[:20].any()
    assert not result.valid[-10:].any()
    assert result.valid[20:-10].all()
    assert not result.pixels[~result.valid].any()
    inner = stored[20:-10].astype(float)
    inner = (inner - inner.min()) / np.ptp(inner)
    expected = 1 - inner if photometric == "MONOCHROME1" else inner
    np.testing.assert_allclose(result.pixels[20:-10], expected, atol=1e-6)


def test_negative_padding_is_read_as_signed():
    stored = PICTURE.astype("i2") - 1000
    stored[:8] = -2000
    result = read(create_sample_dataset(stored, 13, PixelPaddingValue=-2000))
    assert not result.valid[:8].any()
    assert result.valid[8:].all()


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": "1000"},
        {"WindowCenter": "1000", "WindowWidth": "0"},
        {"WindowCenter": "1000", "WindowWidth": "-5"},
        {"WindowCenter": "90000", "WindowWidth": "10"},
    ],
)
def test_an_unusable_window_falls_back_to_the_full_range(window):
    result = read(create_sample_dataset(PICTURE, **window))
    assert "window_unusable" in result.flags
    np.testing.assert_allclose(result.pixels, PICTURE / 4095, atol=1e-6)


@pytest.mark.parametrize("text", [b"nan ", b"1,5 ", b"abc ", b"inf ", b"1_0 "])
def test_a_window_that_is_no_number_falls_back(text):
    dataset = create_sample_dataset(PICTURE, WindowCenter="1000", WindowWidth="7777")
    data = serialise_dataset(dataset).replace(b"7777", text)
    result = read_radiograph(io.BytesIO(data))
    assert "window_unusable" in result.flags
    np.testing.assert_allclose(result.pixels, PICTURE / 4095, atol=1e-6)


@pytest.mark.parametrize("word", [True, False])
def test_eight_bit_tables_in_bytes_and_in_words(word):
    entries = np.arange(256)[::-1]
    picture = create_sample_picture(bits=8).astype("u1")
    dataset = create_sample_dataset(picture, 8, VOILUTSequence=[lut_item(0, entries, 8, word)])
    np.testing.assert_allclose(read(dataset).pixels, 1 - picture / 255, atol=1e-6)


def test_a_table_with_65536_entries():
    picture = create_sample_picture(bits=16)
    entries = np.arange(65536) // 16
    dataset = create_sample_dataset(picture, 16, VOILUTSequence=[lut_item(0, entries, 12)])
    np.testing.assert_allclose(read(dataset).pixels, (picture // 16) / 4095, atol=1e-6)


def test_a_table_that_is_cut_short_is_passed_over():
    item = lut_item(0, CURVE)
    item[0x00283006].value = item[0x00283006].value[:100]
    result = read(create_sample_dataset(PICTURE, VOILUTSequence=[item]))
    assert "voi_lut_unusable" in result.flags
    np.testing.assert_allclose(result.pixels, PICTURE / 4095, atol=1e-6)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize(
    "syntax",
    ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57",
     "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"],
)  # fmt: skip
def test_lossless_syntaxes_give_the_same_picture(syntax, bits):
    picture = create_sample_picture(bits=bits)
    plain = read(create_sample_dataset(picture, bits))
    packed = read(compress_dataset(create_sample_dataset(picture, bits), syntax))
    np.testing.assert_array_equal(packed.pixels, plain.pixels)
    assert packed.pixel_sha256 == plain.pixel_sha256


def test_twelve_bit_extended_jpeg():
    packed = read(compress_dataset(create_sample_dataset(PICTURE), "1.2.840.10008.1.2.4.51"))
    np.testing.assert_allclose(packed.pixels, PICTURE / 4095, atol=4 / 4095)


def test_big_endian_and_implicit():
    dataset = create_sample_dataset(PICTURE)
    for syntax, order in (("1.2.840.10008.1.2.2", ">u2"), ("1.2.840.10008.1.2", "<u2")):
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.set_original_encoding(syntax.endswith("1.2"), order == "<u2")
        dataset.PixelData = PICTURE.astype(order).tobytes()
        np.testing.assert_allclose(read(dataset).pixels, PICTURE / 4095, atol=1e-6)


@pytest.mark.parametrize(
    ("orientation", "turned", "flag"),
    [
        (["L", "F"], lambda a: a, None),
        (["R", "F"], np.fliplr, "orientation_mirrored"),
        (["R", "H"], lambda a: np.rot90(a, 2), "orientation_rotated"),
        (["F", "L"], lambda a: a, "orientation_unusual"),
    ],
)
def test_orientation(orientation, turned, flag):
    result = read(create_sample_dataset(PICTURE, PatientOrientation=orientation))
    np.testing.assert_allclose(result.pixels, turned(PICTURE / 4095), atol=1e-6)
    assert result.flags == ((flag,) if flag else ())


def test_oblong_pixels_become_square():
    result = read(create_sample_dataset(PICTURE, PixelSpacing=["0.4", "0.2"]))
    assert result.pixels.shape == (2 * PICTURE.shape[0], PICTURE.shape[1])
    assert result.spacing_mm == (0.2, 0.2)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, (None, "none")),
        ({"PixelSpacing": ["0.2", "0.2"]}, ((0.2, 0.2), "detector")),
        (
            {"PixelSpacing": ["0.2", "0.2"], "PixelSpacingCalibrationType": "FIDUCIAL"},
            ((0.2, 0.2), "calibrated"),
        ),
        (
            {"PixelSpacing": ["0.18", "0.18"], "ImagerPixelSpacing": ["0.2", "0.2"]},
            ((0.18, 0.18), "calibrated"),
        ),
        (
            {
                "ImagerPixelSpacing": ["0.2", "0.2"],
                "EstimatedRadiographicMagnificationFactor": "1.25",
            },
            ((0.16, 0.16), "estimated"),
        ),
        ({"NominalScannedPixelSpacing": ["0.3", "0.3"]}, ((0.3, 0.3), "film")),
    ],
)
def test_spacing_comes_with_its_kind(elements, expected):
    result = read(create_sample_dataset(PICTURE, **elements))
    if expected[0]:
        np.testing.assert_allclose(result.spacing_mm, expected[0])
    assert result.spacing_kind == expected[1]


def test_shutter_is_dark_and_not_valid():
    result = read(
        create_sample_dataset(
            PICTURE, ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=11,
            ShutterRightVerticalEdge=70, ShutterUpperHorizontalEdge=21,
            ShutterLowerHorizontalEdge=90,
        )
    )  # fmt: skip
    assert result.valid.sum() == 60 * 70
    assert result.valid[20:90, 10:70].all()
    assert not result.pixels[~result.valid].any()


def test_facts_and_masked_identity():
    result = read(create_sample_dataset(PICTURE, PatientAge="094Y", ViewPosition=" AP", PatientID="CANARY"))
    assert (result.view, result.sex, result.age) == ("AP", "F", 90.0)
    assert "CANARY" in result.identity.patient
    assert "CANARY" not in repr(result) + repr(result.identity)


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewPosition": "LL"}, "LL"),
        ({"ViewPosition": ""}, "UNKNOWN"),
        ({"ViewPosition": "", "PatientOrientation": ["A", "F"]}, "LATERAL"),
    ],
)
def test_view_is_never_assumed(elements, view):
    assert read(create_sample_dataset(PICTURE, **elements)).view == view


def test_real_cr_without_file_meta():
    path = REAL / "cr_monochrome1_10bit_no_file_meta.dcm"
    if not path.is_file():
        pytest.skip("shared/data/dicom is not here")
    result = read_radiograph(path)
    assert (result.view, result.polarity_inverted) == ("PA", True)
    # LINEAR window 550/1024, then inverted; the picture's own 10-bit values at the file's end.
    stored = np.frombuffer(path.read_bytes()[-440 * 440 * 2 :], "<u2").reshape(440, 440) & 1023
    expected = 1 - np.clip((stored - 549.5) / 1023 + 0.5, 0, 1)
    np.testing.assert_allclose(result.pixels, expected, atol=1e-5)
    # Air beside the neck is dark, the spine is bright.
    assert result.pixels[:30, -30:].mean() < 0.2 < result.pixels[300:340, 200:230].mean()


def test_real_dx_secondary_capture():
    path = REAL / "nih_dx_monochrome2.dcm"
    if not path.is_file():
        pytest.skip("shared/data/dicom is not here")
    result = read_radiograph(path)
    assert result.pixels.shape == (1024, 1024)
    assert result.age == 81.0
    assert {"secondary_capture", "burned_in_unknown"} <= set(result.flags)
