"""An asymmetric pair of structures on a picture, for every format's test."""

import numpy as np
from PIL import Image

SHAPE = (120, 90)
LEFT = [(52.0, 20.0), (80.0, 24.0), (84.0, 90.0), (70.0, 100.0), (56.0, 60.0)]
RIGHT = [(10.0, 30.0), (34.0, 26.0), (36.0, 70.0), (12.0, 84.0)]
POLYGONS = {"left_lung": LEFT, "right_lung": RIGHT}
NUMBERS = {"left_lung": 1, "right_lung": 2}


def inside(points, shape=SHAPE):
    """Slow twin of `polygons.filled`: crossing number at the pixel centres."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    found = np.zeros(shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if y0 != y1:
            crossing = ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
            found ^= crossing
    return found


def masks():
    return {name: inside(points) for name, points in POLYGONS.items()}


def label_map(dtype=np.uint8):
    levels = np.zeros(SHAPE, dtype)
    for name, mask in masks().items():
        levels[mask] = NUMBERS[name]
    return levels


def picture_at(path, shape=SHAPE):
    values = np.random.default_rng(0).integers(60, 255, shape).astype(np.uint8)
    Image.fromarray(values).save(path)
    return path


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())
