"""Every display path against a slow twin written straight from the standard's formulas."""

import io
import itertools
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medprior.dicom import Policy, read_radiograph
from medprior.dicom.decoding.samples import (
    compress_dataset,
    create_sample_dataset,
    serialise_dataset,
)
from medprior.dicom.radiograph import compute_pixel_sha256
from medprior.dicom.reading import resample_to_square_pixels
from medprior.errors import Rejected
from tests.dicom.sample_files import GAMMA_CURVE, GOOD_FILE, PICTURE, build_lut_item, get_reject_code, read_dataset
from tests.shipped_radiograph import SHIPPED_RADIOGRAPH, load_stored_values

REAL = Path(__file__).parents[3] / "shared" / "data" / "dicom"


RESCALES = {
    "none": ({}, lambda x: x),
    "line": ({"RescaleSlope": "0.5", "RescaleIntercept": "-100"}, lambda x: 0.5 * x - 100),
    "falling": ({"RescaleSlope": "-1", "RescaleIntercept": "4095"}, lambda x: 4095 - x),
    "table": ({"ModalityLUTSequence": [build_lut_item(0, GAMMA_CURVE)]}, lambda x: GAMMA_CURVE[x].astype(float)),
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
        {"VOILUTSequence": [build_lut_item(0, GAMMA_CURVE)], "WindowCenter": "1", "WindowWidth": "2"},
        lambda x: GAMMA_CURVE[np.clip(np.rint(x), 0, 4095).astype(int)] / 4095,
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
    result = read_dataset(create_sample_dataset(PICTURE, **elements))
    expected = curve(line(PICTURE.astype(int)).astype(float))
    if photometric == "MONOCHROME1":
        expected = 1 - expected
    np.testing.assert_allclose(result.pixels, expected, atol=2e-6)
    assert result.polarity_inverted == (photometric == "MONOCHROME1")
    conflict = shape == {"MONOCHROME1": "IDENTITY", "MONOCHROME2": "INVERSE"}[photometric]
    assert ("presentation_shape_conflict" in result.flags) == conflict


@pytest.mark.parametrize(("centre", "width", "flags"), [("32768", "65536", ("low_range",)), ("2048", "4096", ())])
def test_a_window_much_wider_than_the_picture_is_applied_and_flagged(centre, width, flags):
    result = read_dataset(create_sample_dataset(PICTURE, WindowCenter=centre, WindowWidth=width))
    assert result.flags == flags
    np.testing.assert_allclose(result.pixels, PICTURE / (int(width) - 1), atol=1e-6)


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


def test_a_real_secondary_capture_in_jpeg_ls():
    """Not compressed with loss, no window: the whole range of 8 bits becomes [0, 1]."""
    stored = load_stored_values()
    assert (stored.min(), stored.max()) == (0, 255)
    result = read_radiograph(SHIPPED_RADIOGRAPH)
    np.testing.assert_allclose(result.pixels, stored / 255, atol=1e-6)
    assert result.valid.all()
    assert result.flags == ("secondary_capture", "derived", "secondary")
    assert (result.view, result.sex, result.age, result.polarity_inverted) == ("UNKNOWN", None, None, False)
    assert get_reject_code(SHIPPED_RADIOGRAPH, Policy(secondary_capture="film")) == "secondary_capture"


def test_a_real_picture_as_cr_without_file_meta():
    """The layout of old CR readers: inverted, 10 of 16 bits, a window, and neither preamble nor file meta."""
    stored = 1023 - 4 * load_stored_values().astype("u2")
    dataset = create_sample_dataset(
        stored, 10, PhotometricInterpretation="MONOCHROME1", WindowCenter="550", WindowWidth="1024",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.1", Modality="CR",
    )  # fmt: skip
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, Dataset(dict(dataset.items())), implicit_vr=True, little_endian=True)
    assert stream.getvalue()[128:132] != b"DICM"
    result = read_radiograph(io.BytesIO(stream.getvalue()))
    assert (result.view, result.polarity_inverted) == ("PA", True)
    np.testing.assert_allclose(result.pixels, 1 - np.clip((stored - 549.5) / 1023 + 0.5, 0, 1), atol=1e-5)
    # Air beside the patient is dark, the heart is bright.
    assert result.pixels[:20, :30].mean() < 0.2 < result.pixels[300:340, 240:280].mean()


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
def test_unusable_headers_have_their_code(name):
    elements, code = HEADERS[name]
    assert get_reject_code(serialise_dataset(create_sample_dataset(PICTURE, **elements))) == code


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


def test_constant_and_all_padding():
    flat = np.full_like(PICTURE, 7)
    assert get_reject_code(serialise_dataset(create_sample_dataset(flat))) == "constant"
    assert get_reject_code(serialise_dataset(create_sample_dataset(flat, PixelPaddingValue=7))) == "constant"


@pytest.mark.parametrize("length", [0, 1, 100, 131, 132, 140, 200, 400, len(GOOD_FILE) - 1])
def test_cut_anywhere_is_a_code(length):
    assert get_reject_code(GOOD_FILE[:length]) in {
        "empty", "not_dicom", "truncated", "no_pixels", "sop_class", "malformed", "photometric",
        "body_part", "size", "bits_unsupported", "modality",
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(150))
def test_flipped_bytes_give_a_code_or_a_finite_picture(seed):
    rng = np.random.default_rng(seed)
    data = bytearray(serialise_dataset(compress_dataset(create_sample_dataset(PICTURE), "1.2.840.10008.1.2.4.80")))
    if seed % 2:
        data = bytearray(GOOD_FILE)
    for index in rng.integers(132, min(len(data), 900), 4):
        data[index] = rng.integers(256)
    try:
        result = read_radiograph(io.BytesIO(bytes(data)))
    except Rejected:
        return
    assert np.isfinite(result.pixels).all()
    assert 0 <= result.pixels.min() < result.pixels.max() <= 1


def test_lateral_views_are_read_unless_the_policy_refuses_them():
    lateral = serialise_dataset(create_sample_dataset(PICTURE, ViewPosition="LL"))
    assert read_radiograph(io.BytesIO(lateral)).view == "LL"
    assert get_reject_code(lateral, Policy(lateral=False)) == "lateral"
    read_radiograph(io.BytesIO(GOOD_FILE), Policy(lateral=False))


def test_the_digest_is_of_the_stored_values_wherever_their_bits_lie():
    expected = compute_pixel_sha256(PICTURE)
    assert read_dataset(create_sample_dataset(PICTURE)).pixel_sha256 == expected
    shifted = create_sample_dataset((PICTURE << 4).astype("u2"), 12, HighBit=15)
    assert read_dataset(shifted).pixel_sha256 == expected


def test_pixels_become_square_on_the_finer_of_the_two_spacings():
    pixels = np.array([[0, 1], [0.5, 1]], dtype=np.float32)
    valid = np.array([[True, True], [True, False]])
    tall, tall_valid = resample_to_square_pixels(pixels, valid, 2.0)
    wide, wide_valid = resample_to_square_pixels(pixels, valid, 0.5)
    assert (tall.shape, wide.shape) == ((4, 2), (2, 4))
    assert tall_valid.tolist() == [[True, True], [True, True], [True, False], [True, False]]
    assert wide_valid.tolist() == [[True] * 4, [True, True, False, False]]
    np.testing.assert_allclose(tall, [[0, 1], [0.125, 1], [0.375, 0], [0.5, 0]])
    assert resample_to_square_pixels(pixels, valid, 1)[0] is pixels
