"""The request body of the page: closed contours by structure."""

import numpy as np
import pytest

from medprior.annotate.page.contours import ContourDrawing
from medprior.errors import MedpriorError


def square(left, top, side=2.0):
    return [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]


def drawing_of_contours(*structures):
    parts = [{"name": name, "contours": contours} for name, contours in structures]
    return ContourDrawing.from_values({"picture": "p", "structures": parts}, "body")


def test_contours_of_one_structure_unite_and_empty_structures_are_left_out():
    masks = drawing_of_contours(("Lung, L", [square(0, 0), square(4, 1)]), ("heart", [])).masks((4, 8))
    assert list(masks) == ["left_lung"]
    expected = np.zeros((4, 8), bool)
    expected[0:2, 0:2] = expected[1:3, 4:6] = True
    np.testing.assert_array_equal(masks["left_lung"], expected)


def test_two_spellings_of_one_name_are_refused_even_far_apart():
    drawing = drawing_of_contours(("left lung", [square(0, 0)]), ("heart", [square(0, 0)]), ("L Lung", [square(0, 0)]))
    with pytest.raises(MedpriorError, match="left_lung: two structures have one name"):
        drawing.masks((4, 8))


@pytest.mark.parametrize(
    ("structures", "fits"),
    [
        ([("heart", [[(0, 0)] * 5000])], True),
        ([("heart", [[(0, 0)] * 5001])], False),
        ([("heart", [[]])], False),
        ([("heart", [[(0, 0)]] * 50)], True),
        ([("heart", [[(0, 0)]] * 51)], False),
        ([("h" * 200, [])] * 50, True),
        ([("h" * 201, [])], False),
        ([("heart", [])] * 51, False),
    ],
)
def test_a_drawing_has_limits(structures, fits):
    if fits:
        drawing_of_contours(*structures)
    else:
        with pytest.raises(MedpriorError):
            drawing_of_contours(*structures)
