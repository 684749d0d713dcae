"""The real radiograph that ships with the tests, and its stored values."""

from pathlib import Path

import numpy as np
from PIL import Image

SHIPPED_RADIOGRAPH = Path(__file__).parent / "data" / "wingspan_071.dcm"
"""A secondary capture in JPEG-LS, 8 bits, 512 x 512; see the folder's README for credit."""


def load_stored_values() -> np.ndarray:
    """Its stored values uint8 [512, 512], from the picture that it was made of."""
    path = Path(__file__).parents[1] / "bundles" / "chest_xray_segmentation" / "docs" / "example.png"
    with Image.open(path) as picture:
        return np.asarray(picture)
