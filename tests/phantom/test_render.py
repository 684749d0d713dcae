"""Pictures in memory: ranges, repeatability, and borders that can be found in the pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from medprior.phantom import STRUCTURES, render_phantom
from medprior.phantom.render import compute_truth_labels, sample_image_parameters
from medprior.phantom.settings import PhantomSettings
from tests.phantom.thorax import straight_anatomy


@pytest.mark.parametrize("size", [64, 96, 256])
def test_picture_is_display_ready(size):
    image = render_phantom(1, size)
    assert image.pixels.dtype == np.float32
    assert image.pixels.shape == image.signal.shape == image.field.shape == (size, size)
    assert image.pixels.min() >= 0
    assert image.pixels.max() <= 1
    assert np.isfinite(image.pixels).all()
    for name in STRUCTURES:
        assert image.masks[name].dtype == bool
        assert image.masks[name].shape == (size, size)


def test_same_seed_same_picture_and_other_seed_another():
    first, again, other = render_phantom(4, 96), render_phantom(4, 96), render_phantom(5, 96)
    assert np.array_equal(first.pixels, again.pixels)
    assert first.facts == again.facts
    assert not np.array_equal(first.pixels, other.pixels)


def test_images_of_one_patient_differ():
    assert not np.array_equal(render_phantom(4, 96).pixels, render_phantom(4, 96, image=1).pixels)


def test_structures_are_apart_and_on_their_sides():
    for seed in range(12):
        masks = render_phantom(seed, 96).masks
        left, right, heart = (masks[name] for name in STRUCTURES)
        assert not (left & right).any()
        assert not ((left | right) & heart).any()
        assert np.nonzero(left)[1].mean() > np.nonzero(right)[1].mean()
        assert (left | right | heart).sum() > 0.15 * left.size


@pytest.mark.parametrize("name", STRUCTURES)
def test_masks_end_where_the_picture_changes(name):
    """A lung is darker than its rim; the heart is brighter than the lung beside it."""
    contrast = []
    for seed in range(20):
        image = render_phantom(seed, 192)
        mask = image.masks[name]
        inside = mask & ~binary_erosion(mask, iterations=6) & image.field
        rim = binary_dilation(mask, iterations=5) & ~binary_dilation(mask) & image.field
        if name == "heart":
            rim &= image.masks["left_lung"]
            inside &= binary_dilation(rim, iterations=9)
        if rim.sum() > 20 and inside.sum() > 20:
            contrast.append(image.pixels[rim].mean() - image.pixels[inside].mean())
    sign = -1 if name == "heart" else 1
    assert len(contrast) > 15
    assert np.mean(np.sign(contrast) == sign) > 0.9
    assert sign * np.mean(contrast) > 0.08


def test_exposure_and_view_vary():
    images = [render_phantom(seed, 64) for seed in range(30)]
    assert np.std([image.pixels.mean() for image in images]) > 0.02
    assert {image.facts["view"] for image in images} == {"PA", "AP"}
    assert {image.facts["sex"] for image in images} == {"M", "F"}
    assert len({image.facts["vendor"] for image in images}) == 5


@pytest.mark.parametrize(("width", "large"), [(0.545, 0.0), (0.546, 1.0)])
def test_a_heart_wider_than_the_limit_is_cardiomegaly_with_the_heart_as_its_mask(width, large):
    settings = PhantomSettings(cardiothoracic_limit=0.545)
    study = replace(sample_image_parameters((1,), 0, settings), anatomy=straight_anatomy(heart_width=width))
    masks = {"heart": np.eye(3, dtype=bool), "nodule": np.ones((3, 3), bool)}
    truth = compute_truth_labels(study, masks, settings)
    assert truth == {
        "cardiomegaly": large, "pleural_effusion": 0, "consolidation": 0, "nodule": 1, "pneumothorax": 0,
    }  # fmt: skip
    assert ("cardiomegaly" in masks) == bool(large)
    if large:
        assert np.array_equal(masks["cardiomegaly"], masks["heart"])
        assert masks["cardiomegaly"] is not masks["heart"]


def test_a_patient_keeps_the_vendor_and_a_share_of_images_is_portable():
    settings = PhantomSettings(portable=0.35)
    studies = [[sample_image_parameters((seed,), image, settings) for image in (0, 1)] for seed in range(150)]
    assert all(first.vendor == second.vendor for first, second in studies)
    assert 0.25 < np.mean([study.anatomy.portable for pair in studies for study in pair]) < 0.45
    for share in (0.0, 1.0):
        study = sample_image_parameters((3,), 0, PhantomSettings(portable=share))
        assert study.anatomy.portable == bool(share)
