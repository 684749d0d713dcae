"""Masks that are refused, and oddities that are named."""

import numpy as np
import pytest

from medprior.annotate.checks import check_masks
from medprior.errors import MedpriorError
from tests.annotate.drawings import disc, lungs


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ({}, "no mask"),
        ({"heart": disc(0.5, shape=(90, 120))}, "120 rows x 90 columns, found 90 rows x 120"),
        ({"heart": np.zeros((120, 90), bool)}, "empty"),
        ({"heart": np.ones((120, 90), bool)}, "everywhere"),
        ({"left_lung": disc(0.25), "right_lung": disc(0.75)}, "swapped"),
        ({"Left Lung": disc(0.5)}, "not a structure's name"),
        ({"../x": disc(0.5)}, "not a structure's name"),
        ({"image": disc(0.5)}, "not a structure's name"),
    ],
)
def test_masks_that_cannot_be_right_are_refused(masks, words):
    with pytest.raises(MedpriorError, match=words):
        check_masks((120, 90), masks)


def test_any_structure_is_welcome_and_oddities_are_named():
    assert check_masks((120, 90), lungs()) == ()
    (warning,) = check_masks((120, 90), {"pacemaker": disc(0.7, 0.2, 0.05)})
    assert "pacemaker" in warning
    warnings = check_masks((120, 90), lungs() | {"heart": disc(0.5, 0.1, 0.1)})
    assert warnings == ("heart: lies above the lung's centre",)
