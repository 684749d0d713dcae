"""Renders clutter that is no finding: leads, tubes, healed granulomas, skin folds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medprior.phantom.anatomy import Anatomy
from medprior.phantom.frame import ThoraxFrame
from medprior.phantom.shapes import ellipsoid_chord, rasterize_capsules
from medprior.phantom.skeleton import build_capsule_chain

Array = NDArray[np.float32]
METAL_TO_BONE_RATIO = np.float32(2.5)  # wire and barium stripes, in bone of the same thickness (our choice)


def render_clutter(anatomy: Anatomy, frame: ThoraxFrame, rng: np.random.Generator) -> Array:
    """Clutter as millimetres of bone, [rows, cols]; most frequent in portable images (our choice)."""
    total = np.zeros_like(frame.u)
    for render_item, portable_chance, upright_chance in (
        (render_ecg_leads, 0.45, 0.04),
        (render_tube, 0.35, 0.03),
        (render_granuloma, 0.15, 0.15),
        (render_skin_fold, 0.15, 0.03),
    ):
        present = rng.random() < (portable_chance if anatomy.portable else upright_chance)
        item = render_item(frame, np.random.default_rng(rng.integers(2**31)))
        if present:
            total += item
    return total


def sample_curved_line(
    frame: ThoraxFrame, start: tuple[float, float], end: tuple[float, float], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A bent line between two points given in parts of the box, as x and y in millimetres [24]."""
    t = np.linspace(0, 1, 24)
    sway = 0.05 * rng.standard_normal(3)
    bend = sum(s * np.sin((i + 1) * np.pi * t) for i, s in enumerate(sway))
    x = start[0] + t * (end[0] - start[0]) + bend
    y = start[1] + t * (end[1] - start[1]) + 0.3 * bend
    return (x - 0.5) * frame.width_mm, y * frame.height_mm


def render_ecg_leads(frame: ThoraxFrame, rng: np.random.Generator) -> Array:
    """Two or three electrodes with their wires, mm [rows, cols]."""
    result = np.zeros_like(frame.u)
    for _ in range(int(rng.integers(2, 4))):
        start = (float(rng.uniform(0.05, 0.95)), float(rng.uniform(0.0, 0.8)))
        x, y = sample_curved_line(frame, start, (float(rng.uniform(0.2, 0.8)), 1.5), rng)
        wire = np.zeros_like(frame.u)
        rasterize_capsules(wire, frame, build_capsule_chain(x, y, np.full(24, 0.8)))
        result += METAL_TO_BONE_RATIO * wire
        result += 0.3 * ellipsoid_chord(frame, (float(x[0]), float(y[0])), (5.0, 5.0, 5.0))
    return result


def render_tube(frame: ThoraxFrame, rng: np.random.Generator) -> Array:
    """A central line or a tracheal tube, mm [rows, cols]."""
    result = np.zeros_like(frame.u)
    if rng.random() < 0.5:
        x, y = sample_curved_line(frame, (0.18, -0.10), (0.45, 0.40), rng)
        rasterize_capsules(result, frame, build_capsule_chain(x, y, np.full(24, 1.1)))
        return METAL_TO_BONE_RATIO * result
    x, y = sample_curved_line(frame, (0.5, -0.6), (0.5, 0.16), rng)
    rasterize_capsules(result, frame, build_capsule_chain(0.2 * x, y, np.full(24, 1.3)))
    return METAL_TO_BONE_RATIO * result


def render_granuloma(frame: ThoraxFrame, rng: np.random.Generator) -> Array:
    """A small, sharp, calcified spot anywhere in the thorax, mm [rows, cols]."""
    centre = (
        float(rng.uniform(-0.42, 0.42)) * frame.width_mm,
        float(rng.uniform(0.1, 0.8)) * frame.height_mm,
    )
    radius = float(rng.uniform(1.5, 3.0))
    return ellipsoid_chord(frame, centre, (radius, radius, radius))


def render_skin_fold(frame: ThoraxFrame, rng: np.random.Generator) -> Array:
    """A skin fold: an edge beside the chest wall that fades inwards, mm [rows, cols]."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    offset, lean = rng.uniform(0.30, 0.42), rng.uniform(0.0, 0.12)
    inward = offset - lean * frame.v - side * (frame.u - 0.5)
    fade = np.exp(-inward / 0.03) * (inward > 0)
    return np.asarray(1.6 * fade * np.exp(-(((frame.v - 0.45) / 0.35) ** 4)), np.float32)
