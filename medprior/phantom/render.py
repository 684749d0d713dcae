"""Renders one phantom radiograph in memory: pixels, masks, labels and facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.phantom import organs, skeleton
from medprior.phantom.anatomy import Anatomy, sample_anatomy, sample_patient
from medprior.phantom.clutter import render_clutter
from medprior.phantom.collimation import Collimation, sample_collimation
from medprior.phantom.findings import Lesion, apply_lesion, sample_findings, sample_follow_up
from medprior.phantom.frame import ThoraxFrame, build_thorax_frame
from medprior.phantom.outline import compute_structure_masks
from medprior.phantom.projection import (
    apply_vendor_processing,
    compute_line_integral,
    sample_exposure,
    simulate_detector,
)
from medprior.phantom.settings import FINDINGS, PhantomSettings
from medprior.phantom.vendors import Vendor, sample_vendor
from medprior.phantom.vessels import render_vessels, sample_lung_grain
from medprior.phantom.voi import VoiTransform, sample_voi

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PhantomImage:
    """A generated radiograph with its truth.

    Attributes:
        pixels: float32 [rows, cols] in [0, 1], air dark, bone bright, display-ready.
        signal: float32 [rows, cols] in [0, 1], what the vendor stores before windowing.
        masks: bool [rows, cols]; `left_lung`, `right_lung`, `heart` and each finding present.
        labels: 1, 0 or NaN (unknown) for each finding.
        truth: the same without NaN.
        facts: view, sex, age (years), spacing_mm (row, col), ctr, vendor.
        field: bool [rows, cols]; False outside the collimated field.
    """

    pixels: Array
    signal: Array
    masks: dict[str, Mask]
    labels: dict[str, float]
    truth: dict[str, float]
    facts: dict[str, Any]
    field: Mask


@dataclass(frozen=True)
class PhantomImageParameters:
    """All random choices of one image before it is rendered."""

    anatomy: Anatomy
    findings: list[Lesion]
    collimation: Collimation
    vendor: Vendor
    voi: VoiTransform
    seeds: tuple[int, ...]


def sample_image_parameters(seed: tuple[int, ...], image: int, settings: PhantomSettings) -> PhantomImageParameters:
    """Sample image number `image` of the patient with this `seed`."""
    rng = np.random.default_rng([*seed, 0])
    patient = sample_patient(rng)
    upright_anatomy = sample_anatomy(patient, False, np.random.default_rng([*seed, 1]))
    large_heart = upright_anatomy.cardiothoracic_ratio > settings.cardiothoracic_limit
    findings = sample_findings(settings.prevalence, large_heart, settings.subtlety, rng)
    vendor = sample_vendor(rng)
    image_rng = np.random.default_rng([*seed, 2, image])
    portable = bool(image_rng.random() < settings.portable)
    anatomy = sample_anatomy(patient, portable, image_rng)
    image_findings = findings if image == 0 else sample_follow_up(findings, image_rng)
    collimation = sample_collimation(anatomy, image_rng)
    return PhantomImageParameters(
        anatomy, image_findings, collimation, vendor, sample_voi(vendor.voi, image_rng), (*seed, 3, image)
    )


def render_phantom(
    patient_seed: int, size: int = 512, settings: PhantomSettings | None = None, image: int = 0
) -> PhantomImage:
    """Render a square radiograph in memory.

    Args:
        patient_seed: selects the patient; the same seed gives the same image.
        size: rows and columns.
        settings: the cohort's settings.
        image: number of the image of this patient.
    """
    settings = settings or PhantomSettings()
    return render_sampled_image(sample_image_parameters((patient_seed,), image, settings), size, size, settings)


def render_sampled_image(
    study: PhantomImageParameters, rows: int, cols: int, settings: PhantomSettings
) -> PhantomImage:
    """Render a sampled study at `rows` x `cols`."""
    rng = np.random.default_rng(study.seeds)
    anatomy = study.anatomy
    frame = build_thorax_frame(anatomy, rows, cols)
    masks = compute_structure_masks(anatomy, frame.u, frame.v)
    layers = build_layers(anatomy, frame, rng)
    for lesion in study.findings:
        side = "left_lung" if lesion.left else "right_lung"
        mask = apply_lesion(lesion, layers, masks[side], anatomy, frame)
        masks[lesion.name] = masks[lesion.name] | mask if lesion.name in masks else mask
    field = study.collimation.field_mask(rows, cols)
    signal = np.where(field, simulate_exposure(layers, frame, study, field, rng), np.float32(0))
    pixels = study.voi.apply(signal)
    if study.vendor.padding is not None:
        pixels = np.where(field, pixels, np.float32(0))
    truth = compute_truth_labels(study, masks, settings)
    unknown = rng.random(len(FINDINGS)) < settings.unknown
    labels = {name: float("nan") if missing else truth[name] for name, missing in zip(FINDINGS, unknown, strict=True)}
    return PhantomImage(pixels, signal, masks, labels, truth, build_phantom_metadata(study, frame), field)


def build_layers(anatomy: Anatomy, frame: ThoraxFrame, rng: np.random.Generator) -> organs.MaterialLayers:
    """The healthy thorax as chord maps."""
    arm, breast = rng.random(2)
    midline = 0.5 * (anatomy.right_width - anatomy.left_width)
    body = organs.trunk_chord(anatomy, frame, float(arm))
    if not anatomy.male:
        body = body + organs.breast_chord(anatomy, frame, 0.3 * anatomy.fat + 0.4 * float(breast))
    lung = np.maximum(organs.lung_chord(anatomy, frame, True), organs.lung_chord(anatomy, frame, False))
    lung = np.maximum(lung - organs.heart_chord(anatomy, frame), 0)
    gas = organs.airway_chord(anatomy, frame, midline) + organs.sample_stomach_gas(anatomy, frame, rng)
    bone = skeleton.render_ribs(anatomy, frame, rng) + skeleton.render_clavicles(anatomy, frame, rng)
    bone += skeleton.render_spine(anatomy, frame, midline + 0.25 * anatomy.yaw, rng)
    bone += skeleton.render_shoulders(anatomy, frame, float(arm))
    bone += render_clutter(anatomy, frame, rng)
    dense = 1.5 * render_vessels(anatomy, frame, rng)
    return organs.MaterialLayers(body, lung, gas, bone, dense)


def simulate_exposure(
    layers: organs.MaterialLayers,
    frame: ThoraxFrame,
    study: PhantomImageParameters,
    field: Mask,
    rng: np.random.Generator,
) -> Array:
    """The vendor's signal with marker, [rows, cols] in [0, 1]."""
    exposure = sample_exposure(study.anatomy.portable, rng)
    texture = 1.0 + 0.035 * sample_lung_grain(frame.u.shape, 4.0 / frame.pixel_mm, rng)
    exponent = compute_line_integral(layers, texture.astype(np.float32))
    log_signal = simulate_detector(exponent, exposure, frame.pixel_mm, rng)
    signal = apply_vendor_processing(log_signal, (layers.body > 40) & field, exposure, frame.pixel_mm)
    return study.collimation.draw_marker(np.clip(signal, 0, 1))


def compute_truth_labels(
    study: PhantomImageParameters, masks: dict[str, Mask], settings: PhantomSettings
) -> dict[str, float]:
    """1 or 0 for each finding; cardiomegaly gets the heart as its mask, in place."""
    limit = settings.cardiothoracic_limit
    truth = {name: float(name in masks) for name in FINDINGS}
    truth["cardiomegaly"] = float(study.anatomy.cardiothoracic_ratio > limit)
    if truth["cardiomegaly"]:
        masks["cardiomegaly"] = masks["heart"].copy()
    return truth


def build_phantom_metadata(study: PhantomImageParameters, frame: ThoraxFrame) -> dict[str, Any]:
    """Header metadata of the image."""
    anatomy = study.anatomy
    return {
        "view": "AP" if anatomy.portable else "PA",
        "sex": "M" if anatomy.male else "F",
        "age": float(int(anatomy.age)),
        "spacing_mm": (frame.pixel_mm, frame.pixel_mm),
        "ctr": anatomy.cardiothoracic_ratio,
        "vendor": study.vendor.name,
    }
