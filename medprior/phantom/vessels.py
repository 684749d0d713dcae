"""Renders pulmonary vessels, a random tree from each hilum, and the fine grain of the lung."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from medprior.phantom.anatomy import Anatomy
from medprior.phantom.frame import ThoraxFrame
from medprior.phantom.shapes import Capsule, rasterize_capsules

Array = NDArray[np.float32]


def grow_vessel_tree(x: float, y: float, angle: float, radius: float, rng: np.random.Generator) -> list[Capsule]:
    """Rods of one branch and its children; radii shrink as area is shared (our choice).

    Units: millimetres and radians.
    """
    rods: list[Capsule] = []
    stack = [(x, y, angle, radius)]
    while stack:
        x, y, angle, radius = stack.pop()
        if radius < 0.55:
            continue
        bend, length_noise, share, spread = rng.random(4)
        length = (9.0 + 4.0 * radius) * (0.7 + 0.6 * length_noise)
        far_x, far_y = x + length * np.cos(angle), y + length * np.sin(angle)
        rods.append(Capsule(x, y, float(far_x), float(far_y), radius, 0.86 * radius))
        split = 0.25 + 0.5 * share
        turn = 0.25 + 0.5 * spread
        sign = 1.0 if bend > 0.5 else -1.0
        thick, thin = radius * 0.88 * np.sqrt(1 - 0.35 * split), radius * 0.75 * np.sqrt(split)
        stack.append((float(far_x), float(far_y), angle + sign * 0.3 * turn, float(thick)))
        stack.append((float(far_x), float(far_y), angle - sign * 1.2 * turn, float(thin)))
    return rods


def render_vessels(anatomy: Anatomy, frame: ThoraxFrame, rng: np.random.Generator) -> Array:
    """Soft tissue of the vessels of both lungs, mm [rows, cols]."""
    result = np.zeros_like(frame.u)
    width, height = anatomy.width_mm, frame.height_mm
    for side, inner in ((-1.0, anatomy.right_width), (1.0, 1.0 - anatomy.left_width)):
        root_x = (inner - 0.5 + side * 0.005) * width
        root_y = (0.40 if side > 0 else 0.43) * height
        rods = [Capsule(root_x, root_y - 14, root_x + side * 8, root_y + 20, 8.0, 7.0)]
        for angle in (-1.35, -0.85, -0.35, 0.15, 0.6, 1.0, 1.35):
            jitter = angle + 0.12 * float(rng.standard_normal())
            heading = jitter if side > 0 else np.pi - jitter
            start = root_y + 14.0 * np.sin(jitter)
            radius = 3.6 + 1.0 * float(rng.random()) + 0.6 * (angle > 0)
            rods += grow_vessel_tree(root_x + side * 4, float(start), float(heading), radius, rng)
        # Rods much thinner than a pixel cost time and have no visible effect.
        rasterize_capsules(result, frame, [rod for rod in rods if rod.r0 > 0.3 * frame.pixel_mm])
    return result


def sample_lung_grain(shape: tuple[int, int], cell: float, rng: np.random.Generator) -> Array:
    """Smooth noise of unit deviation.

    Args:
        shape: rows, cols.
        cell: size of its features, pixels.
        rng: source of the noise.
    """
    counts = tuple(int(np.ceil(length / cell)) + 2 for length in shape)
    coarse = rng.standard_normal(counts).astype(np.float32)
    fine = zoom(coarse, cell, order=3)[: shape[0], : shape[1]]
    return (fine / max(float(fine.std()), 1e-6)).astype(np.float32)
