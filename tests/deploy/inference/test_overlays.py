import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from medprior.deploy.inference.overlays import (
    PANEL_SIDE_PX,
    add_panel_caption,
    blend_attention,
    draw_diameters,
    draw_native_side_markers,
    encode_png_base64,
    format_overlay_notes,
    format_ratio_title,
    is_frontal,
    render_attention_map,
    render_mask,
    render_mask_contours,
    render_native_overlay,
    render_overlay,
    resize_to_panel,
)
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.radiograph import RESEARCH_NOTE
from medprior.metrics.cardiothoracic_ratio import CardiothoracicRatio, measure_cardiothoracic_ratio
from medprior.palette import structure_rgb
from medprior.side_markers import draw_side_marker


def grey(rows=60, columns=80):
    return np.full((rows, columns), 0.5, np.float32)


def test_attention_tints_where_it_is():
    attention = np.zeros((6, 8), np.float32)
    attention[4, 1] = 48  # all of it in one of 48 patches
    picture = np.asarray(blend_attention(grey(), attention, (255, 0, 0))).astype(int)
    redness = picture[..., 0] - picture[..., 2]
    row, column = np.unravel_index(redness.argmax(), redness.shape)
    assert (row, column) == pytest.approx((45, 15), abs=5)
    assert redness[:20].max() == 0
    even = np.asarray(blend_attention(grey(), np.ones((6, 8), np.float32), (255, 0, 0))).astype(int)
    assert np.ptp(even[..., 0]) == 0
    assert (even[..., 0] - even[..., 2]).max() < redness.max() / 2


def test_contours_follow_the_mask_at_panel_size():
    mask = np.zeros((1200, 1600), bool)
    mask[300:900, 400:1200] = True
    small = resize_to_panel(grey(1200, 1600))
    assert small.shape == (PANEL_SIDE_PX * 3 // 4, PANEL_SIDE_PX)
    picture = np.asarray(render_mask_contours(small, {"heart": mask}, None)).astype(int)
    scale = PANEL_SIDE_PX / 1600
    red = np.argwhere(np.abs(picture - structure_rgb("heart", 0)).sum(-1) == 0)
    assert red.min(0) == pytest.approx((300 * scale, 400 * scale), abs=1)
    assert red.max(0) == pytest.approx((900 * scale - 1, 1200 * scale - 1), abs=1)
    assert np.ptp(picture[250, 300]) == 0  # inside stays grey


def test_area_averaging_keeps_the_mean():
    rng = np.random.default_rng(0)
    pixels = rng.random((1280, 1280)).astype(np.float32)
    assert resize_to_panel(pixels).mean() == pytest.approx(pixels.mean(), abs=1e-3)
    assert resize_to_panel(pixels).std() < 0.16  # 2 x 2 pixels averaged


def test_one_panel_per_map_and_lines_for_the_ratio():
    masks = {name: np.zeros((60, 80), bool) for name in ("right_lung", "left_lung", "heart")}
    masks["right_lung"][10:50, 10:30] = True
    masks["left_lung"][10:50, 50:70] = True
    masks["heart"][30:50, 30:52] = True
    reading = RadiographPrediction(
        pixels=grey(),
        pixel_sha256="0",
        model_digest="0",
        masks=masks,
        attention={"heart": grey(), "left_lung": grey()},
        cardiothoracic=measure_cardiothoracic_ratio(masks),
    )
    sheet = np.asarray(render_overlay(reading))
    assert sheet.shape == (60 + 22, 3 * 80 + 2 * 6, 3)
    white = (sheet[22:, 10:70] == 255).all(-1)
    assert white.any(1).sum() in {1, 2}  # the thoracic line


def test_pictures_survive_base64():
    mask = np.zeros((5, 7), bool)
    mask[1, 2] = True
    back = Image.open(io.BytesIO(base64.b64decode(encode_png_base64(render_mask(mask)))))
    assert np.array_equal(np.asarray(back) == 255, mask)
    values = np.linspace(0, 3, 35, dtype=np.float32).reshape(5, 7)
    back = Image.open(io.BytesIO(base64.b64decode(encode_png_base64(render_attention_map(values)))))
    assert np.asarray(back) / 85 == pytest.approx(values, abs=1 / 85)


def test_what_is_not_a_number_is_black():
    picture = np.asarray(render_attention_map(np.array([[np.nan, 0.2], [np.inf, 0.1]], np.float32)))
    np.testing.assert_array_equal(picture, [[0, 255], [0, 128]])
    assert not np.asarray(render_attention_map(np.full((2, 2), np.nan, np.float32))).any()


@pytest.mark.parametrize(("level", "alpha"), [(1, 0.75 / 4), (4, 0.75), (8, 0.75), (0, 0)])
def test_attention_has_full_colour_from_four_times_its_mean_on(level, alpha):
    picture = np.asarray(blend_attention(grey(), np.full((6, 8), level, np.float32), (255, 0, 100)))
    expected = 127.5 * (1 - alpha) + np.array([255, 0, 100]) * alpha
    np.testing.assert_allclose(picture[30, 40], expected, atol=0.51)
    assert picture.shape == (60, 80, 3)


RATIO = CardiothoracicRatio(0.5, heart=((10.0, 14.0), (20.0, 18.0)), thorax=(4.0, 24.0, 6.0))


def test_diameters_are_lines_at_their_places_on_the_scaled_picture():
    image = Image.new("RGB", (60, 40))
    draw_diameters(ImageDraw.Draw(image), RATIO, (2.0, 1.5), 1)
    picture = np.asarray(image)
    white = np.argwhere((picture == 255).all(axis=-1))
    assert white.tolist() == [[9, column] for column in range(8, 49)]
    heart = np.argwhere((picture == structure_rgb("heart", 0)).all(axis=-1))
    # The ends lie on rows 21 and 27, the diameter half way between them.
    diameter = [[24, column] for column in range(20, 41)]
    ends = [[row, 20] for row in (21, 22, 23)] + [[row, 40] for row in (25, 26, 27)]
    assert sorted(heart.tolist()) == sorted(diameter + ends)


@pytest.mark.parametrize(
    ("turn", "right", "left"),
    [
        ("", (15, 100), (285, 100)),
        ("orientation_mirrored", (284, 100), (14, 100)),
        ("orientation_rotated", (284, 99), (14, 99)),
    ],
)
def test_sides_are_marked_where_the_file_has_them(turn, right, left):
    image, expected = Image.new("L", (300, 200)), Image.new("L", (300, 200))
    draw_native_side_markers(image, NativeGrid((200, 300), (200, 300), turn))
    draw_side_marker(expected, "R", right)
    draw_side_marker(expected, "L", left)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def predict(**values):
    return RadiographPrediction(pixels=grey(), pixel_sha256="0", model_digest="0", **values)


def test_notes_name_the_ratio_and_the_doubts_where_there_are_some():
    assert format_overlay_notes(predict()) == [RESEARCH_NOTE]
    assert format_overlay_notes(predict(flags=("low_range", "derived"))) == [RESEARCH_NOTE, "doubt: low range, derived"]
    both = format_overlay_notes(predict(cardiothoracic=RATIO, flags=("derived",)))
    assert both == [RESEARCH_NOTE, "cardiothoracic ratio 0.50", "doubt: derived"]
    assert format_ratio_title(predict()) == "radiograph"


@pytest.mark.parametrize(("facts", "expected"), [({"view": "PA"}, True), ({"view": "AP"}, True), ({}, True),
                                                 ({"view": "LL"}, False), ({"view": "LATERAL"}, False)])  # fmt: skip
def test_sides_are_known_on_frontal_radiographs_alone(facts, expected):
    assert is_frontal(predict(facts=facts)) is expected
    plain = np.asarray(render_overlay(predict(facts={"view": "LL"})))
    marked = np.asarray(render_overlay(predict(facts=facts)))
    assert (marked != plain).any() == expected


def test_a_caption_stands_above_its_panel():
    panel = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 90, 3), dtype=np.uint8))
    captioned = np.asarray(add_panel_caption(panel, "title"))
    assert captioned.shape == (52, 90, 3)
    np.testing.assert_array_equal(captioned[22:], np.asarray(panel))
    assert (captioned[:22] > 100).any()


def test_a_capture_lies_on_the_pixels_of_the_file():
    mask = np.zeros((60, 80), bool)
    mask[30:50, 10:30] = True
    native = NativeGrid((120, 160), (60, 80), "orientation_mirrored")
    picture = render_native_overlay(predict(masks={"heart": mask}, native=native, facts={"view": "LL"}))
    assert picture.shape == (120, 160, 3)
    red = np.argwhere((picture == structure_rgb("heart", 0)).all(axis=-1))
    assert (red.min(axis=0).tolist(), red.max(axis=0).tolist()) == ([60, 100], [99, 139])
    with pytest.raises(ValueError, match="needs a DICOM file"):
        render_native_overlay(predict())
