"""Renders spine, ribs, clavicles, scapulae and humeri as millimetres of bone along the beam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.phantom.anatomy import Anatomy
from medprior.phantom.frame import ThoraxFrame
from medprior.phantom.shapes import Capsule, compute_bounding_slices, rasterize_capsules, smooth_step

Array = NDArray[np.float32]
MARROW_DEFICIT = 0.45  # marrow counts this much less than cortex (our choice)


def cortical_bone_chord(square: Array, radius: float, wall: float, depth: float) -> Array:
    """Bone along a chord through a tube: wall whole, marrow in part, mm.

    Args:
        square: squared distance from the tube's axis in the picture, mm².
        radius: outer half height, mm.
        wall: thickness of the cortex, mm.
        depth: half depth over half height.
    """
    outer = np.sqrt(np.clip(radius * radius - square, 0, None))
    inner = np.sqrt(np.clip((radius - wall) ** 2 - square, 0, None))
    return np.asarray(2.0 * depth * (outer - MARROW_DEFICIT * inner), np.float32)


def add_rib_pair(
    bone: Array, frame: ThoraxFrame, half: float, rise: float, middle: float, shift: float, thick: float
) -> None:
    """One pair of ribs: an inclined elliptic ring whose upper arc lies behind, in place.

    Args:
        bone: map to add to, mm [rows, cols].
        frame: the grid.
        half: half width of the ring, mm.
        rise: half height of the projected ring, mm.
        middle: height of the ring's centre, mm.
        shift: how far the front lies to the right of the back (turned patient), mm.
        thick: half height of a rib, mm.
    """
    window = compute_bounding_slices(frame, (-half - 12, half + 12), (middle - rise - 12, middle + rise + 12))
    x, y = frame.x_mm[window], frame.y_mm[window] - np.float32(middle)
    if x.size == 0:
        return
    front = smooth_step(-0.4 * rise, 0.4 * rise, y)
    x = np.asarray((x - shift * (front - 0.5)) / half, np.float32)
    y = y / rise
    level = np.sqrt(x * x + y * y) + 1e-6
    slope = np.sqrt((x / half) ** 2 + (y / rise) ** 2) / level + 1e-6
    distance = (level - 1.0) / slope
    radius = thick * (1.0 - 0.12 * front)
    along = np.asarray(np.clip(np.abs(x), 0, 1), np.float32)
    flat = 0.85 + 0.5 * along**6
    cartilage = np.where(y > 0, smooth_step(0.38, 0.62, along), smooth_step(14.0, 22.0, along * half))
    piece = cortical_bone_chord((distance / radius * thick) ** 2, thick, 1.7, 1.0) * flat * cartilage
    bone[window] += piece


def render_ribs(anatomy: Anatomy, frame: ThoraxFrame, rng: np.random.Generator) -> Array:
    """All ribs, mm [rows, cols]."""
    bone = np.zeros_like(frame.u)
    height, width = frame.height_mm, anatomy.width_mm
    first = -0.015 + 0.02 * float(rng.standard_normal())
    step = 0.098 + 0.004 * float(rng.standard_normal())
    slope = float(np.clip(rng.normal(1.0, 0.15), 0.6, 1.4))
    for index in range(11):
        level = first + step * index
        grow = np.interp(index, [0, 1, 2, 3, 5, 8, 10], [0.42, 0.62, 0.77, 0.87, 0.98, 1.02, 1.03])
        half = 0.5 * width * float(grow) + 1.5
        rise = height * np.interp(index, [0, 2, 5, 9, 10], [0.05, 0.11, 0.155, 0.17, 0.15]) * slope
        thick = 5.2 + 0.25 * min(index, 5) + (0.4 if anatomy.male else 0.0)
        middle = level * height + float(rise) + float(rng.normal(0, 1.2))
        add_rib_pair(bone, frame, half, float(rise), middle, anatomy.yaw * anatomy.depth_mm, thick)
    return bone


def render_spine(anatomy: Anatomy, frame: ThoraxFrame, midline: float, rng: np.random.Generator) -> Array:
    """Vertebrae with discs, pedicles and spinous processes, mm [rows, cols]."""
    phase = float(rng.random())
    bend = float(rng.normal(0, 4.0))
    pitch = 0.098 * frame.height_mm
    y = frame.y_mm
    x = frame.x_mm - midline * anatomy.width_mm - bend * np.sin(np.pi * frame.v)
    level = y / pitch + phase
    part = level - np.floor(level)
    half = 14.0 + 2.5 * np.clip(frame.v, -0.3, 1.4) + 1.5 * np.cos(2 * np.pi * part) ** 2
    body = np.clip(1.0 - (np.abs(x) / half) ** 4, 0, None) ** 0.5
    disc = 0.55 + 0.45 * smooth_step(0.04, 0.12, part) * smooth_step(0.96, 0.88, part)
    edge = np.exp(-(((np.abs(x) - half + 1.6) / 1.4) ** 2))
    end = np.exp(-(((part - 0.11) / 0.03) ** 2)) + np.exp(-(((part - 0.89) / 0.03) ** 2))
    pedicle = np.exp(-(((np.abs(x) - 0.66 * half) / 2.8) ** 2) - ((part - 0.4) / 0.14) ** 2)
    process = np.exp(-((x / 3.0) ** 2) - ((part - 0.72) / 0.18) ** 2)
    wings = np.exp(-(((part - 0.32) / 0.09) ** 2)) * smooth_step(31.0, 22.0, np.abs(x))
    total = 7.0 * body * disc + 3.0 * edge * (body > 0) + 2.0 * end * body
    return np.asarray(total + 4.0 * pedicle + 5.0 * process + 3.0 * wings, np.float32)


def render_clavicles(anatomy: Anatomy, frame: ThoraxFrame, rng: np.random.Generator) -> Array:
    """Both collar bones, mm [rows, cols]."""
    bone = np.zeros_like(frame.u)
    width, height = anatomy.width_mm, frame.height_mm
    low = 0.075 - (0.07 if anatomy.portable else 0.0) + 0.02 * float(rng.standard_normal())
    rise = 0.10 + 0.03 * float(rng.standard_normal())
    shift = -0.5 * anatomy.yaw * anatomy.depth_mm
    for side in (-1.0, 1.0):
        t = np.linspace(0, 1, 15)
        x = side * (0.075 + 0.50 * t) * width + shift
        y = (low - rise * (t**0.8) + 0.020 * np.sin(2 * np.pi * t)) * height
        radius = 6.6 - 1.6 * np.sin(np.pi * t)
        outer, inner = np.zeros_like(bone), np.zeros_like(bone)
        for layer, wall in ((outer, 0.0), (inner, 1.8)):
            rasterize_capsules(layer, frame, build_capsule_chain(x, y, radius - wall))
        bone += outer - MARROW_DEFICIT * inner
    return bone


def build_capsule_chain(x: NDArray[np.float64], y: NDArray[np.float64], radius: NDArray[np.float64]) -> list[Capsule]:
    """Capsules along a bent line, from points and radii [n] in millimetres."""
    rows = zip(x[:-1], y[:-1], x[1:], y[1:], radius[:-1], radius[1:], strict=True)
    return [Capsule(*(float(value) for value in row)) for row in rows]


def render_shoulders(anatomy: Anatomy, frame: ThoraxFrame, arm: float) -> Array:
    """Shoulder blades and upper arm bones, mm [rows, cols]; `arm` as in `organs.trunk_chord`."""
    bone = np.zeros_like(frame.u)
    width, height = anatomy.width_mm, frame.height_mm
    out = 0.43 if anatomy.portable else 0.52
    for side in (-1.0, 1.0):
        outer, inner = np.zeros_like(bone), np.zeros_like(bone)
        far_x, head_x = side * (0.70 + 0.35 * arm) * width, side * 0.655 * width
        rods = [(head_x, 0.045 * height, head_x + side * 4, 0.085 * height, 23.0, 18.0),
                (head_x + side * 4, 0.085 * height, far_x, 1.15 * height, 13.0, 11.0)]  # fmt: skip
        for layer, wall in ((outer, 0.0), (inner, 3.0)):
            rasterize_capsules(layer, frame, [Capsule(*rod[:4], rod[4] - wall, rod[5] - wall) for rod in rods])
        bone += 0.55 * (outer - 0.8 * inner)
        bone += render_scapula(frame, side, out * width, height)
    return bone


def render_scapula(frame: ThoraxFrame, side: float, x: float, height: float) -> Array:
    """One shoulder blade: a thin plate with a thick outer border, mm [rows, cols]."""
    across, down = (frame.x_mm * side - x), frame.y_mm / height
    part = np.clip((down - 0.03) / 0.40, 0, 1)
    inner_edge, outer_edge = -18.0 + 20.0 * part, 34.0 - 28.0 * part
    inside = smooth_step(-1.5, 1.5, across - inner_edge) * smooth_step(1.5, -1.5, across - outer_edge)
    inside *= smooth_step(0.02, 0.035, down) * smooth_step(0.45, 0.41, down)
    border = np.exp(-(((across - outer_edge + 3.0) / 2.6) ** 2))
    spine = np.exp(-(((down - 0.055 + 0.0009 * across) / 0.012) ** 2))
    return np.asarray(inside * (2.4 + 5.0 * border + 5.0 * spine), np.float32)
