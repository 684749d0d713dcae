"""A small cohort of located findings."""

import numpy as np
import pandas as pd
import pytest

from medprior.cohort import Cohort, CohortWriter

SIDE = 16


def paint_box(top, left, height, width):
    """A mask of 16 x 16 pixels that is true in one box."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


@pytest.fixture(scope="session")
def located_cohort(tmp_path_factory):
    """Six patients: with a mask and a box, a box, a mask but no finding, neither, an unknown label, a small hole."""
    path = tmp_path_factory.mktemp("located")
    images = [
        ({"spot": 1.0, "hole": 0.0}, {"spot": paint_box(0, 0, 8, 8)}),
        ({"spot": 1.0, "hole": 0.0}, {}),
        ({"spot": 0.0, "hole": 0.0}, {"spot": paint_box(0, 0, 8, 8)}),
        ({"spot": 1.0, "hole": 0.0}, {}),
        ({"hole": 0.0}, {}),
        ({"spot": 0.0, "hole": 1.0}, {"hole": paint_box(4, 8, 2, 1)}),
    ]
    with CohortWriter(path, store_size=SIDE) as writer:
        for number, (labels, masks) in enumerate(images):
            pixels = np.full((SIDE, SIDE), number / 8, np.float32)
            writer.add(image_id=f"i{number}", pixels=pixels, patient_id=f"p{number}", labels=labels, masks=masks)
        writer.finish()
    return Cohort.open(path)


@pytest.fixture(scope="session")
def spot_boxes():
    """Boxes of `spot` in images 0, 1 and 4: the right half, and in image 1 the lower left quarter too."""
    rows = [
        ("i0", "spot", 0.5, 0.0, 0.5, 1.0),
        ("i1", "spot", 0.5, 0.0, 0.5, 1.0),
        ("i1", "spot", 0.0, 0.5, 0.5, 0.5),
        ("i4", "spot", 0.5, 0.0, 0.5, 1.0),
    ]
    return pd.DataFrame(rows, columns=["image_id", "label", "x", "y", "width", "height"])
