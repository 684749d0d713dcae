"""Chords of simple solids: millimetres of each ray inside an ellipsoid, a slice or a capsule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medprior.phantom.frame import ThoraxFrame

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Capsule:
    """A round rod with round ends whose radius changes evenly. Units: millimetres of the frame."""

    x0: float
    y0: float
    x1: float
    y1: float
    r0: float
    r1: float


def superellipse_chord(offset: Array, half_depth: Array | float, power: float) -> Array:
    """Chord of a superelliptic slice at `offset` (1 is its border), same shape as `offset`.

    Units: those of `half_depth`.
    """
    inner = np.clip(np.abs(offset), 0, 1)
    chord = (1.0 - inner**power) ** (1.0 / power)
    return (2.0 * np.asarray(half_depth) * chord).astype(np.float32)


def ellipsoid_chord(
    frame: ThoraxFrame, centre: tuple[float, float], radii: tuple[float, float, float], turn: float = 0.0
) -> Array:
    """Chord of an ellipsoid, [rows, cols].

    Args:
        frame: the grid.
        centre: x, y in millimetres of the frame.
        radii: half axes across, down and along the beam, millimetres.
        turn: turn in the image plane, radians.
    """
    x, y = frame.x_mm - np.float32(centre[0]), frame.y_mm - np.float32(centre[1])
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    across, down = (cos * x + sin * y) / radii[0], (cos * y - sin * x) / radii[1]
    square = np.clip(1.0 - across * across - down * down, 0.0, None)
    return (2.0 * radii[2] * np.sqrt(square)).astype(np.float32)


def compute_bounding_slices(frame: ThoraxFrame, x: tuple[float, float], y: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns that hold a box given in millimetres, whatever the frame's turn."""
    rows, cols = frame.u.shape
    x_step, y_step, x_first, y_first = frame.steps
    scale = x_step * x_step + y_step * y_step
    corners = [(i - x_first, j - y_first) for i in x for j in y]
    col = [(x_step * i + y_step * j) / scale for i, j in corners]
    row = [(x_step * j - y_step * i) / scale for i, j in corners]
    return (
        slice(max(math.floor(min(row)), 0), min(max(math.ceil(max(row)) + 1, 0), rows)),
        slice(max(math.floor(min(col)), 0), min(max(math.ceil(max(col)) + 1, 0), cols)),
    )


def rasterize_capsules(canvas: Array, frame: ThoraxFrame, capsules: list[Capsule]) -> None:
    """Draw the chords of many capsules into `canvas` [rows, cols], in place; overlaps count once.

    Args:
        canvas: millimetres.
        frame: the grid of `canvas`.
        capsules: rods lying in the image plane.
    """
    x_all, y_all = frame.x_mm, frame.y_mm
    for rod in capsules:
        reach = max(rod.r0, rod.r1)
        window = compute_bounding_slices(
            frame,
            (min(rod.x0, rod.x1) - reach, max(rod.x0, rod.x1) + reach),
            (min(rod.y0, rod.y1) - reach, max(rod.y0, rod.y1) + reach),
        )
        x, y = x_all[window] - np.float32(rod.x0), y_all[window] - np.float32(rod.y0)
        if x.size == 0:
            continue
        dx, dy = rod.x1 - rod.x0, rod.y1 - rod.y0
        along = (x * dx + y * dy) / max(dx * dx + dy * dy, 1e-6)
        along = np.minimum(np.maximum(along, 0.0), 1.0)
        radius = rod.r0 + along * (rod.r1 - rod.r0)
        square = radius * radius - (x - along * dx) ** 2 - (y - along * dy) ** 2
        chord = 2.0 * np.sqrt(np.maximum(square, 0.0))
        canvas[window] = np.maximum(canvas[window], chord)


def smooth_step(low: float, high: float, value: Array) -> Array:
    """0 below `low`, 1 above `high`, smooth between; works with low > high."""
    part = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part), np.float32)
