"""Samples the measures of one thorax from the distribution of real patients.

Means, deviations and correlations were measured on 383 expert landmark sets (JSRT and PadChest,
ngaggion/Chest-xray-landmark-dataset). `ASSUMED_CORRELATIONS` are our choice: they keep the
heart with the mediastinum and on the diaphragm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

# name: (mean, standard deviation). Box in parts of the image, the rest in parts of the box.
MEASURED_MOMENTS: dict[str, tuple[float, float]] = {
    "box_width": (0.782, 0.075),
    "box_height": (0.731, 0.107),
    "centre_x": (0.503, 0.024),
    "centre_y": (0.471, 0.045),
    "right_width": (0.437, 0.027),
    "left_width": (0.435, 0.028),
    "heart_width": (0.500, 0.067),
    "heart_height": (0.450, 0.082),
    "heart_x": (0.588, 0.030),
    "heart_y": (0.672, 0.046),
}
VARIABLE_NAMES = ("age", *MEASURED_MOMENTS)  # age first: it must not depend on one image's pose
MEASURED_CORRELATIONS: dict[tuple[str, str], float] = {
    ("heart_width", "box_height"): -0.65,
    ("heart_width", "box_width"): -0.43,
    ("heart_width", "heart_height"): 0.64,
    ("right_width", "left_width"): -0.68,
    ("heart_x", "heart_width"): 0.27,
}
ASSUMED_CORRELATIONS: dict[tuple[str, str], float] = {
    ("box_width", "box_height"): 0.35,
    ("heart_height", "box_height"): -0.40,
    ("heart_y", "heart_height"): -0.30,
    ("heart_x", "right_width"): 0.35,
    ("heart_x", "left_width"): -0.35,
    ("age", "heart_width"): 0.30,
}
MAX_DEVIATIONS = 2.4  # draws beyond this many deviations are pulled in: the table's tails are short
PATIENT_CORRELATION = 0.85  # correlation between two images of one patient (our choice)
AP_HEART_SHIFT = 0.5  # heart width, in deviations, between AP and PA (our choice)


@dataclass(frozen=True)
class Anatomy:
    """The anatomical measures of one image.

    Units: `box_*`, `centre_*` in parts of the image (width or height); all others in parts of the
    box around both lungs, from its upper left corner; `age` years; `*_mm` millimetres; angles in
    radians. x grows to the right of the picture, which is the patient's left.
    """

    box_width: float
    box_height: float
    centre_x: float
    centre_y: float
    right_width: float
    left_width: float
    heart_width: float
    heart_height: float
    heart_x: float
    heart_y: float
    right_top: float
    left_top: float
    right_bottom: float
    left_bottom: float
    age: float
    male: bool
    portable: bool
    width_mm: float
    depth_mm: float
    fat: float
    roll: float
    yaw: float
    bulge: tuple[float, float, float, float]

    @property
    def cardiothoracic_ratio(self) -> float:
        """Greatest heart width over the width of the lungs' box."""
        return self.heart_width


@cache
def compute_correlation_cholesky() -> NDArray[np.float64]:
    """Lower Cholesky factor [n, n] of the correlation matrix, n = len(VARIABLE_NAMES).

    Times independent standard normals it gives correlated ones.
    """
    matrix = np.eye(len(VARIABLE_NAMES))
    for (first, second), value in (MEASURED_CORRELATIONS | ASSUMED_CORRELATIONS).items():
        i, j = VARIABLE_NAMES.index(first), VARIABLE_NAMES.index(second)
        matrix[i, j] = matrix[j, i] = value
    return np.asarray(np.linalg.cholesky(matrix), np.float64)


@dataclass(frozen=True)
class PatientBody:
    """What the images of one patient share: standard normal draws and body size."""

    normals: NDArray[np.float64]
    male: bool
    width_mm: float
    depth_mm: float
    fat: float
    lung_offsets: NDArray[np.float64]
    bulge: NDArray[np.float64]


def sample_patient(rng: np.random.Generator) -> PatientBody:
    """Sample a patient; men are larger (our choice: lungs' box 285 mm against 258 mm wide)."""
    male = bool(rng.random() < 0.54)
    width = rng.normal(285.0 if male else 258.0, 14.0)
    fat = float(np.clip(rng.gamma(3.0, 0.33), 0.2, 2.6))
    depth = rng.normal(0.60, 0.035) * width
    return PatientBody(
        normals=rng.standard_normal(len(VARIABLE_NAMES)),
        male=male,
        width_mm=float(width),
        depth_mm=float(depth),
        fat=fat,
        lung_offsets=rng.standard_normal(2),
        bulge=rng.standard_normal(4),
    )


def sample_anatomy(patient: PatientBody, portable: bool, rng: np.random.Generator) -> Anatomy:
    """Sample one image's anatomy: the patient's measures, varied by breath, pose and projection."""
    image_normals = rng.standard_normal(len(VARIABLE_NAMES))
    mixed = np.sqrt(PATIENT_CORRELATION) * patient.normals + np.sqrt(1 - PATIENT_CORRELATION) * image_normals
    mixed[VARIABLE_NAMES.index("age")] = patient.normals[VARIABLE_NAMES.index("age")]
    normals = compute_correlation_cholesky() @ mixed
    ap_share = 0.35  # of the images; keeps the mean over both views
    normals[VARIABLE_NAMES.index("heart_width")] += AP_HEART_SHIFT * (portable - ap_share)
    normals = np.clip(normals, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    measures = {
        name: mean + deviation * float(normals[VARIABLE_NAMES.index(name)])
        for name, (mean, deviation) in MEASURED_MOMENTS.items()
    }
    measures = clip_to_image(measures)
    offsets = np.sqrt(0.8) * patient.lung_offsets + np.sqrt(0.2) * rng.standard_normal(2)
    base = -0.006 + 0.058 * float(offsets[0])
    apex = 0.003 + 0.019 * float(offsets[1])
    bulge = 0.8 * patient.bulge + 0.6 * rng.standard_normal(4)
    return Anatomy(
        **measures,
        right_top=max(0.0, apex),
        left_top=max(0.0, -apex),
        right_bottom=1.0 - min(max(0.0, base), 0.16),
        left_bottom=1.0 - min(max(0.0, -base), 0.16),
        age=float(np.clip(54.0 + 18.0 * normals[VARIABLE_NAMES.index("age")], 18.0, 97.0)),
        male=patient.male,
        portable=portable,
        width_mm=patient.width_mm,
        depth_mm=patient.depth_mm,
        fat=patient.fat,
        roll=float(np.clip(rng.normal(0.0, 0.022), -0.06, 0.06)),
        yaw=float(np.clip(rng.normal(0.0, 0.03 if portable else 0.018), -0.08, 0.08)),
        bulge=(float(bulge[0]), float(bulge[1]), float(bulge[2]), float(bulge[3])),
    )


def clip_to_image(measures: dict[str, float]) -> dict[str, float]:
    """Move box and heart inside the image and the thorax if a rare sample exceeds them."""
    measures = dict(measures)
    measures["box_width"] = min(measures["box_width"], 0.95)
    measures["box_height"] = min(measures["box_height"], 0.95)
    half = 0.5 * measures["box_height"] + 0.012
    measures["centre_y"] = float(np.clip(measures["centre_y"], half, 1.0 - half))
    half = 0.5 * measures["box_width"] + 0.012
    measures["centre_x"] = float(np.clip(measures["centre_x"], half, 1.0 - half))
    measures["heart_y"] = min(measures["heart_y"], 1.0 - 0.5 * measures["heart_height"])
    return measures
