"""Pixel centres in the frame of the lungs' box, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medprior.phantom.frame import build_thorax_frame
from tests.phantom.thorax import straight_anatomy

HALF_BOX = {"box_width": 0.5, "box_height": 0.5}


def test_pixel_centres_are_parts_of_the_box():
    frame = build_thorax_frame(straight_anatomy(**HALF_BOX), 4, 8)
    np.testing.assert_allclose(frame.u, np.tile((np.arange(8) - 3.5) / 4 + 0.5, (4, 1)))
    np.testing.assert_allclose(frame.v, np.tile((np.arange(4) - 1.5)[:, None] / 2 + 0.5, (1, 8)))


def test_millimetres_follow_the_width_of_the_patient():
    frame = build_thorax_frame(straight_anatomy(**HALF_BOX), 4, 8)
    assert (frame.pixel_mm, frame.width_mm, frame.height_mm) == (50, 200, 100)
    assert frame.x_mm[0, [0, 7]].tolist() == [-175, 175]
    assert frame.y_mm[[0, 3], 0].tolist() == [-25, 125]
    assert frame.steps == pytest.approx((50, 0, -175, -25))


def test_a_box_beside_the_middle_moves_the_origin():
    frame = build_thorax_frame(straight_anatomy(**HALF_BOX, centre_x=0.25, centre_y=0.75), 4, 8)
    assert frame.x_mm[0, 0] == pytest.approx(-75)
    assert frame.y_mm[0, 0] == pytest.approx(-75)


def test_a_quarter_turn_exchanges_the_axes():
    frame = build_thorax_frame(straight_anatomy(**HALF_BOX, roll=np.pi / 2), 4, 8)
    np.testing.assert_allclose(frame.u, np.tile((np.arange(4) - 1.5)[:, None] / 4 + 0.5, (1, 8)), atol=1e-6)
    np.testing.assert_allclose(frame.v, np.tile(0.5 - (np.arange(8) - 3.5) / 2, (4, 1)), atol=1e-6)


def test_steps_lead_from_pixel_to_pixel_in_a_turned_frame():
    frame = build_thorax_frame(straight_anatomy(roll=0.3), 30, 40)
    x_step, y_step, x_first, y_first = frame.steps
    column, row = 17, 11
    assert frame.x_mm[row, column] == pytest.approx(x_first + column * x_step - row * y_step, abs=1e-3)
    assert frame.y_mm[row, column] == pytest.approx(y_first + column * y_step + row * x_step, abs=1e-3)


def test_an_image_of_one_column_has_no_step():
    assert build_thorax_frame(straight_anatomy(), 3, 1).steps[:2] == (0, 0)
