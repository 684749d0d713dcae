"""An asymmetric pair of structures on a picture, for every format's test."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprior.annotate import Annotation, annotate_from_files
from medprior.annotate.mask_inputs import MaskInputs
from medprior.cohort import Cohort, CohortWriter
from medprior.errors import MedpriorError
from medprior.metrics.overlap import compute_dice

SHAPE = (120, 90)
LEFT = [(52.0, 20.0), (80.0, 24.0), (84.0, 90.0), (70.0, 100.0), (56.0, 60.0)]
RIGHT = [(10.0, 30.0), (34.0, 26.0), (36.0, 70.0), (12.0, 84.0)]
POLYGONS = {"left_lung": LEFT, "right_lung": RIGHT}
NUMBERS = {"left_lung": 1, "right_lung": 2}
NAMES = {"1": "left_lung", "2": "right_lung"}


def inside(points, shape=SHAPE):
    """Slow twin of `fill_polygons`: crossing number at the pixel centres."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    mask = np.zeros(shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if y0 != y1:
            crossing = ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
            mask ^= crossing
    return mask


def masks():
    """Structure -> mask of its polygon."""
    return {name: inside(points) for name, points in POLYGONS.items()}


def label_map(dtype=np.uint8):
    """Both structures as the grey levels of `NUMBERS`."""
    levels = np.zeros(SHAPE, dtype)
    for name, mask in masks().items():
        levels[mask] = NUMBERS[name]
    return levels


def picture_at(path, shape=SHAPE):
    """Write a noisy 8-bit picture, and return its path."""
    values = np.random.default_rng(0).integers(60, 255, shape).astype(np.uint8)
    Image.fromarray(values).save(path)
    return path


def annotate_drawing(tmp_path, file, names=NAMES, **more):
    """The annotation that one file of several structures gives."""
    inputs = MaskInputs(annotations=file, names=names, **more)
    return annotate_from_files(picture_at(tmp_path / "chest.png"), inputs)


def assert_is_drawing(annotation: Annotation, least=1.0):
    """The annotation holds both structures with at least this Dice."""
    assert annotation.structures == ("left_lung", "right_lung")
    for name, mask in masks().items():
        assert annotation.masks[name].shape == SHAPE
        assert compute_dice(annotation.masks[name], mask) >= least, name


def assert_refused(tmp_path, file, words, names=NAMES):
    """The file is refused with these words, which do not hold its path."""
    with pytest.raises(MedpriorError, match=words) as caught:
        annotate_drawing(tmp_path, file, names)
    assert str(tmp_path) not in str(caught.value)


def affine(x, y, spacing=0.2):
    """RAS affine of a picture whose columns run to `x` and rows to `y` (LPS signs)."""
    matrix = np.diag([-x * spacing, -y * spacing, 1.0, 1.0])
    matrix[:2, 3] = 11.0, -7.0
    return matrix


def disc(x, y=0.5, radius=0.15, shape=(120, 90)):
    """A round mask, in parts of the picture."""
    rows, cols = shape
    yy, xx = (np.arange(rows)[:, None] + 0.5) / rows, (np.arange(cols)[None] + 0.5) / cols
    return (yy - y) ** 2 + (xx - x) ** 2 < radius**2


def lungs():
    """Two discs on the sides where the lungs are."""
    return {"left_lung": disc(0.75), "right_lung": disc(0.25)}


def picture(shape=(120, 90), seed=0):
    """Noise in [0, 1)."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def cohort_at(path: Path) -> Cohort:
    """20 images of 20 patients, the last 12 with masks, the first 15 for training."""
    with CohortWriter(path) as writer:
        for index in range(20):
            # Index 7 is the cleanest picture, 8 the cleanest one that has masks.
            noise = picture(seed=index) * (0.05 if index == 7 else 0.1 if index == 8 else 1.0)
            pixels = np.clip(0.7 * disc(0.5, radius=0.3) + 0.3 * noise, 0, 1).astype(np.float32)
            masks = lungs() | {"effusion": disc(0.8)} if index >= 8 else {}
            writer.add(
                image_id=f"i{index}", pixels=pixels, patient_id=f"p{index}", masks=masks,
                labels={"effusion": 1.0}, spacing_mm=0.4,
            )  # fmt: skip
        writer.finish(split={f"i{index}": "train" for index in range(15)})
    return Cohort.open(path)
