import base64
import io

import numpy as np
import pytest
from PIL import Image

from medprior.deploy.inference.overlays import (
    PANEL_SIDE_PX,
    blend_attention,
    encode_png_base64,
    render_attention_map,
    render_mask,
    render_mask_contours,
    render_overlay,
    resize_to_panel,
)
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.metrics.cardiothoracic_ratio import measure_cardiothoracic_ratio
from medprior.palette import structure_rgb


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
