"""The JSON answer and the pictures it includes."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from medprior.deploy import load_model
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.deploy.service.responses import (
    build_response,
    encode_attention_maps,
    encode_displayed_pixels,
    encode_pixels_json,
    extract_contours,
    parse_include,
)
from medprior.pages.problem import Problem
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


def test_extras_are_words_between_commas():
    assert parse_include("") == parse_include(" , ") == set()
    assert parse_include("pixels, masks,,pixels") == {"masks", "pixels"}
    with pytest.raises(Problem) as caught:
        parse_include("masks,pixel")
    assert (caught.value.status_code, caught.value.code) == (422, "invalid_request")
    assert caught.value.detail == "include takes masks, attention, contours, pixels, locations"


def test_pixels_are_little_endian_16_bit_rows():
    pixels = np.array([[0.0, 0.25, 1.0], [-1.0, 1.5, 1 / 65535]], np.float32)
    encoded = encode_displayed_pixels(pixels)
    assert (encoded["rows"], encoded["columns"]) == (2, 3)
    # 0.25 x 65535 = 16383.75 is 16384 = 0x4000.
    assert base64.b64decode(encoded["data"]).hex() == "00000040ffff0000ffff0100"


def test_the_longest_side_of_the_pixels_is_2048():
    encoded = encode_displayed_pixels(np.full((4096, 6), 0.5, np.float32))
    assert (encoded["rows"], encoded["columns"]) == (2048, 3)
    assert len(base64.b64decode(encoded["data"])) == 2 * 2048 * 3
    assert encode_displayed_pixels(np.zeros((2, 2048), np.float32))["columns"] == 2048


@pytest.mark.parametrize("shape", [(2, 3), (4096, 6)])
def test_pixels_written_as_json_are_those_of_the_record(shape):
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    assert json.loads(encode_pixels_json(pixels)) == encode_displayed_pixels(pixels)


def test_contours_run_along_the_edges_of_a_mask_in_x_and_y():
    mask = np.zeros((10, 14), bool)
    mask[2:5, 3:11] = True
    (line,) = extract_contours(mask)
    xs, ys = np.array(line).T
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (3, 11, 2, 5)
    assert line[0] == line[-1]
    assert extract_contours(mask & False) == []


def test_contours_of_a_large_mask_are_in_its_own_pixels():
    """1280 x 640 pixels are reduced to half before they are traced."""
    mask = np.zeros((640, 1280), bool)
    mask[200:400, 1000:] = True
    (line,) = extract_contours(mask)
    xs, ys = np.array(line).T
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (1000, 1280, 200, 400)


@pytest.mark.parametrize(
    ("rows", "columns"), [((0, 900), (0, 300)), ((1400, 2000), (1100, 1500)), ((7, 1993), (3, 41))]
)
def test_contours_of_a_part_of_an_oblong_mask_lie_at_its_edges(rows, columns):
    """At the image's own edges and away from them, to a pixel of the reduced mask, which is 3.125 pixels wide."""
    mask = np.zeros((2000, 1500), dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    (line,) = extract_contours(mask)
    assert np.min(line, axis=0) == pytest.approx((columns[0], rows[0]), abs=1.6)
    assert np.max(line, axis=0) == pytest.approx((columns[1], rows[1]), abs=1.6)


def test_contours_have_few_points_that_lie_on_the_border():
    y, x = np.mgrid[:2048, :2048] + 0.5
    mask = np.hypot(x - 900, y - 1100) <= 600
    (line,) = extract_contours(mask)
    assert line[0] == line[-1]
    assert len(line) < 450
    distances = np.hypot(*(np.array(line) - (900, 1100)).T)
    np.testing.assert_allclose(distances, 600, atol=1.5)
    middles = (np.array(line)[1:] + np.array(line)[:-1]) / 2
    np.testing.assert_allclose(np.hypot(*(middles - (900, 1100)).T), 600, atol=2.5)


def attention_of(**maps) -> RadiographPrediction:
    """A prediction that has attention maps alone."""
    return RadiographPrediction(np.zeros((2, 2), np.float32), "p", "m", attention=maps)


def test_full_colour_of_attention_is_its_highest_share_but_at_least_four_times_the_mean():
    steep = np.zeros((20, 20), np.float32)
    steep[0, :4] = 12.0  # 4 of 400 places, 1 %, so that the quantile of 99.5 % is their value
    record = encode_attention_maps(attention_of(heart=steep, flat=np.full((20, 20), 1.0, np.float32)))
    assert record["attention_peak"] == {"heart": 12.0, "flat": 1.0}
    assert record["attention_full"] == {"heart": 12.0, "flat": 4.0}
    png = np.asarray(Image.open(io.BytesIO(base64.b64decode(record["attention"]["heart"]))))
    assert (png[0, 0], png[19, 19]) == (255, 0)


def test_only_what_was_asked_is_included():
    prediction = attention_of(heart=np.ones((2, 2), np.float32))
    assert {"masks", "attention", "contours", "pixels"}.isdisjoint(build_response(prediction, set()))
    assert build_response(prediction, {"contours"})["contours"] == {}
    assert "pixels" not in build_response(prediction, {"attention"})
