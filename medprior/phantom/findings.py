"""Samples the findings of a patient and adds them to the layers of each image.

Sizes and densities are our choice: large lesions are easy to see, small ones are hard.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from medprior.phantom.anatomy import Anatomy
from medprior.phantom.frame import ThoraxFrame
from medprior.phantom.organs import MaterialLayers
from medprior.phantom.outline import get_lung_vertical_extent, lung_borders
from medprior.phantom.settings import Prevalence
from medprior.phantom.shapes import ellipsoid_chord, smooth_step

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Attributes:
        name: its label.
        left: whether it sits in the patient's left lung.
        size: 0 (barely there) to 1 (large).
        density: 0 (faint) to 1 (as dense as soft tissue).
        position: across and down the lung, 0 to 1 each.
        seed: of its own texture.
    """

    name: str
    left: bool
    size: float
    density: float
    position: tuple[float, float]
    seed: int


def sample_findings(
    prevalence: Prevalence, large_heart: bool, subtlety: float, rng: np.random.Generator
) -> list[Lesion]:
    """Sample the findings of one patient; a large heart makes effusions likelier."""
    lesions = []
    for name in ("pleural_effusion", "consolidation", "nodule", "pneumothorax"):
        chance = getattr(prevalence, name)
        if name == "pleural_effusion":
            chance *= 1.5 if large_heart else 0.83
        present, left = rng.random() < chance, bool(rng.random() < 0.5)
        bilateral = rng.random() < {"pleural_effusion": 0.35, "consolidation": 0.3}.get(name, 0.15)
        for side in (left, not left)[: 1 + bilateral]:
            size, density, across, down = rng.random(4)
            lesion = Lesion(
                name,
                side,
                float(1 - subtlety * (1 - size) if subtlety <= 1 else size**subtlety),
                float(1 - subtlety * (1 - density) if subtlety <= 1 else density**subtlety),
                (float(across), float(down)),
                int(rng.integers(2**31)),
            )
            if present:
                lesions.append(lesion)
    return lesions


def sample_follow_up(findings: list[Lesion], rng: np.random.Generator) -> list[Lesion]:
    """Sample the same lesions on another image: some vanish, sizes change."""
    lesions = []
    for lesion in findings:
        survival, growth = rng.random(), rng.normal(0, 0.1)
        if survival < 0.85:
            lesions.append(replace(lesion, size=float(np.clip(lesion.size + growth, 0.02, 1.0))))
    return lesions


def apply_lesion(lesion: Lesion, layers: MaterialLayers, lung: Mask, anatomy: Anatomy, frame: ThoraxFrame) -> Mask:
    """Add the lesion to `layers` in place; returns its mask [rows, cols].

    Args:
        lesion: the lesion to add.
        layers: chord maps of the image.
        lung: the mask of the lung it is in, [rows, cols].
        anatomy: the image's anatomy.
        frame: the grid.
    """
    add_finding = {
        "pleural_effusion": add_effusion,
        "consolidation": add_consolidation,
        "nodule": add_nodule,
        "pneumothorax": add_pneumothorax,
    }[lesion.name]
    return add_finding(lesion, layers, lung, anatomy, frame)


def add_effusion(lesion: Lesion, layers: MaterialLayers, lung: Mask, anatomy: Anatomy, frame: ThoraxFrame) -> Mask:
    """Fluid from the costophrenic angle up, its surface a meniscus; hazier in AP images."""
    outward = outer_border_distance(anatomy, frame, lesion.left)
    top, bottom = get_lung_vertical_extent(anatomy, lesion.left)
    depth = 0.025 + 0.38 * lesion.size**2.4
    climb = (0.35 + 0.3 * lesion.size) * depth
    level = bottom - depth - climb * np.exp(-outward / 0.10) + 0.35 * depth * outward
    soft = (0.10 if anatomy.portable else 0.025) + 0.03 * lesion.size
    fill = smooth_step(-soft, soft, (frame.v - level) / (bottom - top))
    fill *= (0.62 if anatomy.portable else 0.80) + 0.18 * lesion.density
    fill *= compute_hemithorax_mask(frame, lesion.left)
    layers.dense = np.maximum(layers.dense, fill * layers.lung)
    return np.asarray(lung & (frame.v > level), np.bool_)


def add_consolidation(lesion: Lesion, layers: MaterialLayers, lung: Mask, anatomy: Anatomy, frame: ThoraxFrame) -> Mask:
    """A cloudy patch of dense lung with ragged borders."""
    rng = np.random.default_rng(lesion.seed)
    centre = locate_lesion(lesion, lung, frame)
    radius = 15.0 + 34.0 * lesion.size
    cloud = np.zeros_like(frame.u)
    for _ in range(5):
        dx, dy, scale, high, turn = rng.normal(0, 0.45, 5)
        radii = (radius * np.exp(0.4 * scale), radius * np.exp(0.4 * high) * 0.9, 1.0)
        blob_centre = (centre[0] + radius * dx, centre[1] + radius * dy)
        cloud = np.maximum(cloud, ellipsoid_chord(frame, blob_centre, radii, float(turn)) / 2.0)
    cloud = gaussian_filter(cloud, 0.09 * radius / frame.pixel_mm)
    cloud *= 1.0 + 0.20 * sample_texture(frame, 0.5 * radius, rng) + 0.10 * sample_texture(frame, 0.2 * radius, rng)
    fill = smooth_step(0.0, 1.15, cloud) * (0.24 + 0.42 * lesion.density)
    layers.dense = np.maximum(layers.dense, fill * layers.lung)
    return lung & (cloud > 0.35)


def sample_texture(frame: ThoraxFrame, cell: float, rng: np.random.Generator) -> Array:
    """Smooth noise fixed to the thorax, its cells `cell` millimetres wide, [rows, cols]."""
    table = rng.standard_normal((40, 40)).astype(np.float32)
    coordinates = np.stack([frame.y_mm, frame.x_mm]) / np.float32(cell) + 20
    return map_coordinates(table, coordinates, order=3, mode="grid-wrap").astype(np.float32)


def add_nodule(lesion: Lesion, layers: MaterialLayers, lung: Mask, anatomy: Anatomy, frame: ThoraxFrame) -> Mask:
    """A round lesion of 8 to 24 mm radius (a mass from 15 mm); some are calcified."""
    centre = locate_lesion(lesion, lung, frame)
    radius = 8.0 + 16.0 * lesion.size
    ball = ellipsoid_chord(frame, centre, (radius, radius * 0.92, radius))
    layers.dense = layers.dense + ball * (1.2 + 0.8 * lesion.density)
    return lung & (ball > 0)


def add_pneumothorax(lesion: Lesion, layers: MaterialLayers, lung: Mask, anatomy: Anatomy, frame: ThoraxFrame) -> Mask:
    """Air between chest wall and lung, widest at the apex, with a thin bright pleural line."""
    borders = lung_borders(anatomy, lesion.left)
    first, last = borders.at(frame.v)
    outer = (last - frame.u) if lesion.left else (frame.u - first)
    top, bottom = get_lung_vertical_extent(anatomy, lesion.left)
    t = np.clip((frame.v - top) / (bottom - top), 0, 1)
    reach = 0.35 + 0.65 * lesion.position[0]
    wide = lesion.size**1.5
    gap = (0.010 + 0.10 * wide) * smooth_step(1.1 * reach, 0.3 * reach, t)
    gap += (0.03 + 0.18 * wide) * np.exp(-((t / (0.07 + 0.10 * lesion.position[1])) ** 2))
    distance = np.asarray((gap - outer) * frame.width_mm, np.float32)
    air = smooth_step(-0.6, 0.6, distance) * compute_hemithorax_mask(frame, lesion.left)
    share = 0.35 + 0.55 * lesion.density
    displaced = layers.lung * air * share
    layers.lung = layers.lung - displaced
    layers.gas = layers.gas + displaced
    layers.dense = layers.dense * (1.0 - air)
    line = np.exp(-((distance / max(0.8, 0.5 * frame.pixel_mm)) ** 2))
    layers.bone = np.asarray(layers.bone + 0.9 * line * lung, np.float32)
    return lung & (distance > 0)


def compute_hemithorax_mask(frame: ThoraxFrame, left: bool) -> Mask:
    """The half of the picture that holds the patient's left (or right) lung, [rows, cols]."""
    return np.asarray((frame.u > 0.5) == left, np.bool_)


def outer_border_distance(anatomy: Anatomy, frame: ThoraxFrame, left: bool) -> Array:
    """Distance from the outer border of a lung, parts of the box width, [rows, cols]."""
    first, last = lung_borders(anatomy, left).at(frame.v)
    return np.asarray(np.clip((last - frame.u) if left else (frame.u - first), 0, 1), np.float32)


def locate_lesion(lesion: Lesion, lung: Mask, frame: ThoraxFrame) -> tuple[float, float]:
    """Point of the lung at `lesion.position`, x and y in millimetres, independent of the grid."""
    rows = np.flatnonzero(lung.any(axis=1))
    row = rows[int((0.12 + 0.76 * lesion.position[1]) * (len(rows) - 1))]
    cols = np.flatnonzero(lung[row])
    col = cols[int((0.12 + 0.76 * lesion.position[0]) * (len(cols) - 1))]
    return float(frame.x_mm[row, col]), float(frame.y_mm[row, col])
