"""Chord maps of soft tissue, lungs, heart and airways: stacks of slices with closed-form chords."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from medprior.phantom.anatomy import Anatomy
from medprior.phantom.frame import ThoraxFrame
from medprior.phantom.outline import diaphragm_height, get_lung_vertical_extent, heart_borders, lung_borders
from medprior.phantom.shapes import (
    Capsule,
    ellipsoid_chord,
    rasterize_capsules,
    smooth_step,
    superellipse_chord,
)

Array = NDArray[np.float32]

# Half width of the trunk over height, in box widths and box heights (our choice).
TRUNK_HALF_WIDTH = ((-1.2, 0.19), (-0.30, 0.20), (-0.20, 0.27), (-0.13, 0.42), (-0.06, 0.60), (0.0, 0.68),
         (0.1, 0.71), (0.22, 0.67), (0.35, 0.60), (0.6, 0.57), (1.0, 0.565), (1.6, 0.58),
         (3.0, 0.58))  # fmt: skip
TRUNK_DEPTH = ((-1.2, 0.62), (-0.3, 0.62), (-0.1, 0.72), (0.1, 0.92), (0.3, 1.0), (1.0, 1.0), (3.0, 1.0))
LUNG_DEPTH = ((0.0, 0.28), (0.06, 0.45), (0.2, 0.68), (0.45, 0.92), (0.7, 1.0), (1.0, 0.95))


@dataclass
class MaterialLayers:
    """Millimetres of each material along every ray, [rows, cols].

    `body` is the whole path inside the skin; `lung`, `gas` and `bone` lie in it; `dense` is the
    part of `lung` that is filled with soft tissue or fluid. Findings change these in place.
    """

    body: Array
    lung: Array
    gas: Array
    bone: Array
    dense: Array


def trunk_chord(anatomy: Anatomy, frame: ThoraxFrame, arm: float) -> Array:
    """Path inside trunk, neck, arms and breasts, mm [rows, cols].

    Args:
        anatomy: of the image.
        frame: the grid.
        arm: abduction of the arms, 0 to 1.
    """
    skin = 0.022 * anatomy.fat
    half = PchipInterpolator(*np.transpose(TRUNK_HALF_WIDTH))(frame.v[:, 0])[:, None] + skin
    thick = anatomy.depth_mm + 38.0 + 32.0 * anatomy.fat
    depth = PchipInterpolator(*np.transpose(TRUNK_DEPTH))(frame.v[:, 0])[:, None] * thick / 2
    offset = ((frame.u - np.float32(0.5)) / half).astype(np.float32)
    body = superellipse_chord(offset, depth.astype(np.float32), 2.6)
    return np.maximum(body, arm_chord(anatomy, frame, arm))


def arm_chord(anatomy: Anatomy, frame: ThoraxFrame, arm: float) -> Array:
    """Path inside both upper arms, mm [rows, cols]."""
    result = np.zeros_like(frame.u)
    width, height = anatomy.width_mm, frame.height_mm
    radius = 34.0 + 9.0 * anatomy.fat
    for side in (-1.0, 1.0):
        top_x, top_y = side * 0.66 * width, 0.08 * height
        far_x = side * (0.70 + 0.35 * arm) * width
        rod = Capsule(top_x, top_y, far_x, 1.15 * height, radius + 6, radius - 4)
        rasterize_capsules(result, frame, [rod])
    return result


def breast_chord(anatomy: Anatomy, frame: ThoraxFrame, size: float) -> Array:
    """Path inside both breasts, mm [rows, cols]; `size` 0 to 1; sharp below, fading above."""
    total = np.zeros_like(frame.u)
    for side in (-1.0, 1.0):
        x, y = side * 0.27 * anatomy.width_mm, (0.66 + 0.16 * size) * frame.height_mm
        radii = (50.0 + 22 * size, 46.0 + 22 * size, 7.0 + 13 * size)
        chord = ellipsoid_chord(frame, (x, y), radii, side * 0.3)
        total += chord * smooth_step(y - 0.9 * radii[1], y + 0.6 * radii[1], frame.y_mm)
    return total


def lung_chord(anatomy: Anatomy, frame: ThoraxFrame, left: bool) -> Array:
    """Path inside one lung's hull before the heart is cut out, mm [rows, cols].

    The hull reaches behind and before the dome of the diaphragm, where it thins out.
    """
    u, v = frame.u, frame.v
    borders = lung_borders(anatomy, left)
    first, last = borders.at(v)
    outer, inner = (last, first) if left else (first, last)
    half = np.abs(outer - 0.5)
    offset = np.abs(u - 0.5) / np.maximum(half, 1e-3)
    top, bottom = get_lung_vertical_extent(anatomy, left)
    t = np.clip((v - top) / (bottom - top), 0, 1)
    depth = np.interp(t, *np.transpose(LUNG_DEPTH)) * (anatomy.depth_mm / 2)
    chord = superellipse_chord(offset.astype(np.float32), depth.astype(np.float32), 2.8)
    inward = np.clip(np.abs(u - inner) / 0.15, 0, 1)
    chord *= np.sqrt(1.0 - (1.0 - inward) ** 2)
    chord *= np.sqrt(np.clip((v - top) / 0.05, 0, 1))
    below = np.clip(v - diaphragm_height(anatomy, u, left), 0, None)
    chord *= 1.0 - np.sqrt(np.clip(below / 0.16, 0, 1))
    chord[~((u >= first) & (u <= last) & (v >= top))] = 0.0
    return chord.astype(np.float32)


def heart_chord(anatomy: Anatomy, frame: ThoraxFrame) -> Array:
    """Path inside the heart, mm [rows, cols]."""
    borders = heart_borders(anatomy)
    left, right = borders.at(frame.v)
    half = np.maximum((right - left) / 2, 1e-3)
    y = (frame.v - borders.height[0]) / (borders.height[-1] - borders.height[0])
    round_down = np.clip(1.0 - (2.0 * y - 1.0) ** 2, 0, None) ** 0.35
    depth = np.minimum(0.8 * half * anatomy.width_mm, 0.41 * anatomy.depth_mm) * round_down
    offset = (frame.u - (left + right) / 2) / half
    chord = superellipse_chord(offset.astype(np.float32), depth.astype(np.float32), 2.0)
    chord[~borders.contains(frame.u, frame.v)] = 0.0
    return chord


def airway_chord(anatomy: Anatomy, frame: ThoraxFrame, midline: float) -> Array:
    """Path inside trachea and main bronchi, mm [rows, cols]."""
    result = np.zeros_like(frame.u)
    width, height = anatomy.width_mm, frame.height_mm
    middle, fork = midline * width, (midline + 0.012) * width
    rods = [
        Capsule(middle, -0.5 * height, middle, 0.0, 8.0, 8.5),
        Capsule(middle, 0.0, fork, 0.27 * height, 8.5, 8.0),
        Capsule(fork, 0.27 * height, fork - 0.06 * width, 0.345 * height, 6.0, 4.0),
        Capsule(fork, 0.27 * height, fork + 0.07 * width, 0.345 * height, 5.5, 3.5),
    ]
    rasterize_capsules(result, frame, rods)
    return np.asarray(1.25 * np.minimum(result, 17.0), np.float32)


def sample_stomach_gas(anatomy: Anatomy, frame: ThoraxFrame, rng: np.random.Generator) -> Array:
    """Path inside the gas under the left dome, mm [rows, cols]; not everyone has it."""
    size = float(rng.random())
    lumps = rng.normal(0.0, 1.0, (4, 2))
    if size < 0.35:
        return np.zeros_like(frame.u)
    width, height = anatomy.width_mm, frame.height_mm
    x = 0.24 * width
    edge = diaphragm_height(anatomy, np.array([0.74], np.float32), True)[0] * height
    radius = 14.0 + 22.0 * size
    gas = np.zeros_like(frame.u)
    for dx, dy in lumps:
        centre = (x + 10 * float(dx), edge + 12.0 + radius * 0.75 + 6 * float(dy))
        gas = np.maximum(gas, ellipsoid_chord(frame, centre, (radius, radius * 0.6, radius * 0.8)))
    below = frame.v - diaphragm_height(anatomy, frame.u, True)
    return gas * smooth_step(0.012, 0.03, below)
