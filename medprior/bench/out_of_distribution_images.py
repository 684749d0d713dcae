"""Synthetic out-of-distribution pictures, to measure whether a model detects them.

Some are altered chest radiographs (rotated, inverted, wrongly exposed, far too small); the others
are rendered: other body parts in simple shapes, and pictures that are no radiographs. All are our
choice, and none is used to fit or tune a model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Pixels = NDArray[np.float32]
Rng = np.random.Generator
PAGE_WORDS = "the chest of this page shows no lung but many words of a report that was scanned in"


def compute_coordinate_grid(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (y, x) of the pixel centres of a square picture, -1 to 1."""
    line = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(line, line, indexing="ij")
    return y, x


def compute_rod_thickness(
    size: int, ends: tuple[float, float, float, float], width: float, depth: float
) -> NDArray[np.float64]:
    """Thickness of a cylinder between (x0, y0) and (x1, y1), with rounded ends."""
    y, x = compute_coordinate_grid(size)
    x0, y0, x1, y1 = ends
    length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
    along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
    distance = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
    return depth * np.sqrt(np.clip(1 - (distance / width) ** 2, 0, None))


def compute_oval_thickness(
    size: int, centre: tuple[float, float], radii: tuple[float, float], depth: float
) -> NDArray[np.float64]:
    """Thickness of an ellipsoid at (x, y) with radii (across, down)."""
    y, x = compute_coordinate_grid(size)
    r = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2
    return depth * np.sqrt(np.clip(1 - r, 0, None))


def expose_thickness(thickness: NDArray[np.float64], rng: Rng) -> Pixels:
    """A radiograph of a thickness map: scaled to its range, with noise and slight blur."""
    grey = ndimage.gaussian_filter(thickness, len(thickness) / 250)
    grey = grey / max(float(grey.max()), 1e-9) * rng.uniform(0.8, 0.98)
    grey = grey ** rng.uniform(0.7, 1.2) + rng.normal(0, rng.uniform(0.005, 0.02), grey.shape)
    return np.clip(grey, 0, 1).astype(np.float32)


def render_hand(rng: Rng, size: int) -> Pixels:
    """Palm, four fingers and a thumb, each with its bones."""
    thickness = compute_oval_thickness(size, (0, 0.35), (0.42, 0.45), 0.5) + compute_rod_thickness(
        size, (0, 0.6, 0, 1.2), 0.25, 0.45
    )
    tilt = rng.uniform(-0.1, 0.1)
    for order, x in enumerate(np.linspace(-0.34, 0.34, 4)):
        tip = -0.85 + 0.12 * abs(order - 1.4) + rng.uniform(-0.05, 0.05)
        bends = [(x, 0.5), (x * 1.1, 0.05), (x * 1.25 + tilt, -0.35), (x * 1.35 + tilt, tip)]
        for (x0, y0), (x1, y1) in itertools.pairwise(bends):
            thickness += compute_rod_thickness(size, (x0, y0, x1, y1), 0.075, 0.3) + compute_rod_thickness(
                size, (x0, y0, x1, y1), 0.03, 0.6
            )
    thickness += compute_rod_thickness(size, (-0.35, 0.45, -0.75, -0.05), 0.08, 0.3)
    thickness += compute_rod_thickness(size, (-0.35, 0.45, -0.75, -0.05), 0.035, 0.6)
    return expose_thickness(thickness, rng)


def render_skull(rng: Rng, size: int) -> Pixels:
    """A shell of bone, orbits, jaw and neck."""
    width = rng.uniform(0.55, 0.65)
    thickness = compute_oval_thickness(size, (0, -0.2), (width, 0.7), 1.6) - compute_oval_thickness(
        size, (0, -0.2), (width - 0.06, 0.64), 1
    )
    thickness += compute_oval_thickness(size, (0, 0.45), (0.38, 0.4), 0.6) + compute_rod_thickness(
        size, (0, 0.6, 0, 1.2), 0.3, 0.6
    )
    for side in (-1, 1):
        thickness -= compute_oval_thickness(size, (0.23 * side, 0.05), (0.15, 0.12), 0.35)
    thickness -= compute_oval_thickness(size, (0, 0.28), (0.08, 0.14), 0.3)
    thickness += compute_rod_thickness(size, (-0.18, 0.55, 0.18, 0.55), 0.06, 0.5)
    return expose_thickness(np.clip(thickness, 0, None), rng)


def render_abdomen(rng: Rng, size: int) -> Pixels:
    """A wide trunk with spine and pelvis, gas in the bowel."""
    thickness = compute_oval_thickness(size, (0, 0), (0.95, 1.5), 1.0) + compute_rod_thickness(
        size, (0, -1.2, 0, 0.55), 0.11, 0.45
    )
    for side in (-1, 1):
        thickness += compute_oval_thickness(size, (0.5 * side, 0.65), (0.38, 0.33), 0.45)
        thickness -= compute_oval_thickness(size, (0.35 * side, 0.85), (0.13, 0.1), 0.2)
    for _ in range(12):
        place = (rng.uniform(-0.7, 0.7), rng.uniform(-0.8, 0.5))
        thickness -= compute_oval_thickness(size, place, (rng.uniform(0.05, 0.2), rng.uniform(0.05, 0.12)), 0.25)
    return expose_thickness(np.clip(thickness, 0, None), rng)


def render_knee(rng: Rng, size: int) -> Pixels:
    """Two thick bones that meet in a joint."""
    thickness = compute_rod_thickness(size, (0, -1.2, 0, 1.2), 0.45, 0.6)
    thickness += compute_rod_thickness(size, (0.02, -1.2, 0, -0.15), 0.17, 0.7) + compute_oval_thickness(
        size, (0, -0.1), (0.34, 0.2), 0.5
    )
    thickness += compute_rod_thickness(size, (0, 0.15, -0.03, 1.2), 0.16, 0.7) + compute_oval_thickness(
        size, (0, 0.16), (0.34, 0.15), 0.5
    )
    return expose_thickness(thickness + compute_rod_thickness(size, (0.3, 0.3, 0.25, 1.2), 0.06, 0.4), rng)


def render_lateral_chest(rng: Rng, size: int) -> Pixels:
    """A chest from the side: one lung field, the heart in front, the spine behind."""
    front = rng.choice([-1.0, 1.0])
    thickness = compute_oval_thickness(size, (0, 0.1), (0.75, 1.3), 1.0) - compute_oval_thickness(
        size, (0.05 * front, -0.1), (0.6, 0.75), 0.6
    )
    thickness += compute_oval_thickness(size, (0.28 * front, 0.25), (0.28, 0.35), 0.35)
    thickness += compute_rod_thickness(size, (-0.5 * front, -0.9, -0.45 * front, 1.1), 0.12, 0.45)
    thickness += compute_rod_thickness(size, (0.6 * front, -0.6, 0.68 * front, 0.4), 0.04, 0.3)
    thickness += compute_oval_thickness(size, (0.0, 0.95), (0.7, 0.45), 0.6)
    for y in np.linspace(-0.7, 0.5, 8):
        thickness += compute_rod_thickness(size, (-0.5 * front, y, 0.5 * front, y + 0.25), 0.025, 0.12)
    return expose_thickness(np.clip(thickness, 0, None), rng)


def render_text_page(rng: Rng, size: int) -> Pixels:
    """A scanned page of text."""
    image = Image.new("L", (size, size), int(rng.integers(215, 256)))
    draw, words = ImageDraw.Draw(image), PAGE_WORDS.split()
    for y in range(size // 12, size - size // 12, max(8, size // 20)):
        line = " ".join(rng.choice(words, 9))
        draw.text((size // 12, y), line, fill=int(rng.integers(0, 60)))
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def render_gradient(rng: Rng, size: int) -> Pixels:
    """A grey gradient in a random direction."""
    y, x = compute_coordinate_grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * x + np.sin(angle) * y
    return np.asarray((ramp - ramp.min()) / np.ptp(ramp), dtype=np.float32)


def render_flat_grey(rng: Rng, size: int) -> Pixels:
    """A uniform grey with slight noise."""
    noise = rng.normal(0, 0.004, (size, size))
    return np.clip(rng.uniform(0.1, 0.9) + noise, 0, 1).astype(np.float32)


def render_white_noise(rng: Rng, size: int) -> Pixels:
    """White noise."""
    return rng.random((size, size), dtype=np.float32)


def render_natural_noise(rng: Rng, size: int) -> Pixels:
    """Noise with the power spectrum of natural scenes, amplitude 1 / f."""
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    f[0, 0] = np.inf
    phase = np.exp(2j * np.pi * rng.random(f.shape))
    texture = np.fft.irfft2(phase / f, s=(size, size))
    low, high = np.quantile(texture, [0.01, 0.99])
    return np.asarray(np.clip((texture - low) / (high - low), 0, 1), dtype=np.float32)


def render_chequerboard(rng: Rng, size: int) -> Pixels:
    """A chequerboard."""
    step = int(rng.integers(size // 16, size // 5))
    board = np.add.outer(np.arange(size) // step, np.arange(size) // step) % 2
    return (0.15 + 0.7 * board).astype(np.float32)


def shrink_to_child(chest: Pixels, rng: Rng) -> Pixels:
    """The chest at a fraction of its size on black, as a newborn on the detector of an adult."""
    rows, cols = chest.shape
    scale = rng.uniform(0.35, 0.5)
    small = ndimage.zoom(chest, scale, order=1)
    picture = np.zeros_like(chest)
    y, x = (rows - small.shape[0]) // 2, (cols - small.shape[1]) // 2
    picture[y : y + small.shape[0], x : x + small.shape[1]] = small
    return picture


def crop_close_up(chest: Pixels, rng: Rng) -> Pixels:
    """A quarter of the chest, enlarged."""
    rows, cols = chest.shape
    y, x = int(rng.integers(0, rows // 2)), int(rng.integers(0, cols // 2))
    part = chest[y : y + rows // 2, x : x + cols // 2]
    return np.clip(ndimage.zoom(part, 2, order=1), 0, 1).astype(np.float32)


def add_heavy_noise(chest: Pixels, rng: Rng) -> Pixels:
    """The chest under heavy noise."""
    noise = rng.normal(0, 0.3, chest.shape)
    return np.clip(chest + noise, 0, 1).astype(np.float32)


CHEST_CHANGES: dict[str, Callable[[Pixels, Rng], Pixels]] = {
    "rotated 90": lambda chest, rng: np.ascontiguousarray(np.rot90(chest, int(rng.choice([1, 3])))),
    "rotated 180": lambda chest, rng: np.ascontiguousarray(np.rot90(chest, 2)),
    "inverted": lambda chest, rng: 1 - chest,
    "too dark": lambda chest, rng: chest**4 * np.float32(0.6),
    "overexposed": lambda chest, rng: np.clip(chest * 2.5 + 0.25, 0, 1),
    "noisy": add_heavy_noise,
    "small child": shrink_to_child,
    "close-up": crop_close_up,
}
SYNTHETIC_ODDITIES: dict[str, Callable[[Rng, int], Pixels]] = {
    "lateral": render_lateral_chest,
    "hand": render_hand,
    "skull": render_skull,
    "abdomen": render_abdomen,
    "knee": render_knee,
    "page": render_text_page,
    "gradient": render_gradient,
    "flat": render_flat_grey,
    "static": render_white_noise,
    "texture": render_natural_noise,
    "tiles": render_chequerboard,
}


def create_out_of_distribution_pictures(chests: list[Pixels], seed: int, size: int) -> dict[str, list[Pixels]]:
    """Kind -> as many out-of-distribution pictures as chests.

    Args:
        chests: float32 [rows, cols] in [0, 1], upright frontal radiographs.
        seed: of every random choice.
        size: side of the rendered ones.
    """
    rng = np.random.default_rng([seed, 31])
    pictures = {name: [make(chest, rng) for chest in chests] for name, make in CHEST_CHANGES.items()}
    pictures |= {name: [make(rng, size) for _ in chests] for name, make in SYNTHETIC_ODDITIES.items()}
    return pictures
